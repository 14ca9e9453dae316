import type { MigratedDisk } from '../../../contract/migrated-storage.ts';
import type { Disk } from '../../domain-xml.ts';
import type { DiskSize } from '../../hypervisor.ts';
import { fail, type Verdict } from '../check.ts';

/** A local disk as it is to be copied: one whole image in a file. Any other disk is refused, with the reason. */
export function migratedDisk(
  { target, format, sources, encrypted, readonly }: Disk,
  size: DiskSize | undefined,
): MigratedDisk | { refused: Verdict } {
  const [source, ...backing] = sources;
  if (source?.kind !== 'file') return refused('it is not an image in a file');
  if (backing.length > 0) return refused(`${source.path} has a backing image, and only whole images are copied`);
  if (format !== 'raw' && format !== 'qcow2')
    return refused(`its format is ${format ?? 'not given'}, not raw or qcow2`);
  if (encrypted) return refused('it is encrypted');
  if (readonly) return refused('it is read-only, which libvirt does not copy');
  if (size === undefined) return refused('libvirt does not say how large it is');
  const { capacityBytes, allocatedBytes } = size;
  return { target, path: source.path, format, capacityBytes, allocatedBytes };
}

function refused(why: string): { refused: Verdict } {
  return {
    refused: fail(
      `a disk of this host alone, which can't be copied: ${why}`,
      'put the image on storage that both hosts mount, make it one whole raw or qcow2 file, or take the disk off',
    ),
  };
}
