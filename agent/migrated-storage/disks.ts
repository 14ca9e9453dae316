import { dirname } from 'node:path/posix';
import { mib } from '../../common/units.ts';
import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import { fail, type NamedCheck, pass, type Verdict } from '../checks/check.ts';
import { isNetworkFileSystem } from '../checks/disks.ts';
import type { AgentDeps } from '../deps.ts';
import type { Disk } from '../domain-xml.ts';
import type { Domain } from '../hypervisor.ts';
import { messageOf } from '../stages/stage.ts';
import { checkRoom } from './disk-space.ts';
import { migratedDisk } from './migratable-disk.ts';

/** A disk in a file of one host alone: as it is copied, or why it can't be. */
export interface LocalDisk {
  disk: Disk;
  copied: MigratedDisk | { refused: Verdict };
}

/**
 * The disks that the policy has copied along, of those given: in files on a file system of this host alone, or, on the destination,
 * where there is not even a directory yet. `domain` is the guest on the source, which knows how large they are.
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
    // What can't be looked at is not copied, and fails the check that it is shared.
    const type = await facts.fileSystemType(dirname(source.path)).catch(() => 'nfs');
    if (type === undefined || !isNetworkFileSystem(type)) local.push(disk);
  }
  if (local.length === 0) return [];
  // A guest that does not run has none; that is for its own check to say.
  const sizes = await domain.diskSizes().catch(() => []);
  return local.map((disk) => ({
    disk,
    copied: migratedDisk(
      disk,
      sizes.find(({ target }) => target === disk.target),
    ),
  }));
}

export const without = (disks: readonly Disk[], local: readonly LocalDisk[]): Disk[] =>
  disks.filter((disk) => !local.some((each) => each.disk === disk));

/** Those that can be copied. */
export const copiesOf = (local: readonly LocalDisk[]): MigratedDisk[] =>
  local.flatMap(({ copied }) => ('refused' in copied ? [] : [copied]));

/** How long the guest's writing is looked at, in ms; its memory takes as long. */
const LOOK_MS = 1_000;

/** What the guest writes to these disks, in bytes per second. */
export async function measureDiskWrites(
  { clock }: Pick<AgentDeps, 'clock'>,
  domain: Pick<Domain, 'diskSizes'>,
  disks: readonly MigratedDisk[],
): Promise<number> {
  const written = async () =>
    (await domain.diskSizes())
      .filter(({ target }) => disks.some((disk) => disk.target === target))
      .reduce((sum, { writtenBytes }) => sum + writtenBytes, 0);
  const before = { at: clock.now(), bytes: await written() };
  await clock.sleep(LOOK_MS);
  const bytes = (await written()) - before.bytes;
  return Math.max(0, Math.round((bytes * 1_000) / (clock.now() - before.at)));
}

/** On the source: what would be copied. */
export function sourceDiskChecks(local: readonly LocalDisk[]): NamedCheck[] {
  return local.map(({ disk, copied }) => [
    `disk:${disk.target}`,
    () =>
      'refused' in copied ? copied.refused : pass(`${words(copied)}: a disk of this host alone, to be copied along`),
  ]);
}

/** On the destination: whether it can take them. */
export function destinationDiskChecks(
  { facts, images }: Pick<AgentDeps, 'facts' | 'images'>,
  local: readonly LocalDisk[],
): NamedCheck[] {
  const copies = copiesOf(local);
  const checks = local.map(
    ({ disk, copied }): NamedCheck => [
      `disk:${disk.target}`,
      async () => {
        if ('refused' in copied) return copied.refused;
        const directory = dirname(copied.path);
        if ((await facts.fileSystemType(directory)) === undefined) {
          return fail(`there is no ${directory} here for the copy of the disk`, 'make the directory on this host');
        }
        return (await images.identity(copied.path)) === undefined
          ? pass(`${copied.path} is free for the copy`)
          : fail(
              `${copied.path} is there already; a copy is never written over an image`,
              'if it is an old image of the VM that nothing uses any more, move it away or delete it',
            );
      },
    ],
  );
  const room = async (): Promise<Verdict> => {
    try {
      await images.mustMakeImages();
    } catch (error) {
      return fail(`no images can be made here: ${messageOf(error)}`, 'install qemu-img (package qemu-utils)');
    }
    const there = await Promise.allSettled(
      copies.map(async (disk) => ({ disk, room: await images.room(dirname(disk.path)) })),
    );
    // A directory that is not there has failed the disk's own check.
    return checkRoom(there.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])));
  };
  return copies.length === 0 ? checks : [...checks, ['storage-room', room]];
}

const words = ({ path, format, capacityBytes, allocatedBytes }: MigratedDisk): string =>
  `${path} (${format}, ${mib(capacityBytes, Math.ceil)}, of which ${mib(allocatedBytes, Math.ceil)} in use)`;
