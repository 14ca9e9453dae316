import { dirname } from 'node:path/posix';
import type { MigratedDisk } from '../../../contract/migrated-storage.ts';
import type { AgentDeps } from '../../deps.ts';
import type { Disk } from '../../domain-xml.ts';
import type { Domain } from '../../hypervisor.ts';
import type { Verdict } from '../check.ts';
import { isNetworkFileSystem } from './file-systems.ts';
import { migratedDisk } from './migratable-disk.ts';

/** A disk in a file of one host alone: as it is to be copied, or why it cannot be copied. */
export interface LocalDisk {
  disk: Disk;
  copied: MigratedDisk | { refused: Verdict };
}

/**
 * The given disks that have to be copied with the VM: files on a file system of this host alone or, on the destination, in a
 * directory that does not exist yet. `domain` is the guest on the source, which knows the sizes.
 */
export async function localDisks(
  { facts }: Pick<AgentDeps, 'facts'>,
  domain: Pick<Domain, 'diskSizes'>,
  disks: readonly Disk[],
): Promise<LocalDisk[]> {
  const local: Disk[] = [];
  for (const disk of disks) {
    const [source] = disk.sources;
    if (source?.kind !== 'file') continue;
    // Without an answer the disk counts as shared: it is not copied, and fails the check of shared disks.
    const type = await facts.fileSystemType(dirname(source.path)).catch(() => 'nfs');
    if (type === undefined || !isNetworkFileSystem(type)) local.push(disk);
  }
  if (local.length === 0) return [];
  // libvirt knows no sizes of a guest that does not run; the check `domain-running` reports that.
  const sizes = await domain.diskSizes().catch(() => []);
  return local.map((disk) => ({
    disk,
    copied: migratedDisk(
      disk,
      sizes.find(({ target }) => target === disk.target),
    ),
  }));
}

export const withoutLocal = (disks: readonly Disk[], local: readonly LocalDisk[]): Disk[] =>
  disks.filter((disk) => !local.some((each) => each.disk === disk));

/** Those that can be copied. */
export const migratedDisksOf = (local: readonly LocalDisk[]): MigratedDisk[] =>
  local.flatMap(({ copied }) => ('refused' in copied ? [] : [copied]));
