import type { CopiedDisk } from '../../contract/storage.ts';
import { fail, type Verdict } from '../checks/check.ts';
import type { Disk } from '../domain-xml.ts';
import type { DiskSize } from '../hypervisor.ts';

/**
 * Which disks are copied along: those in one file, on a file system of the source alone. A file on a network file system is taken
 * for shared, and has to prove it.
 */
export function copiedDisk(disk: Disk, size: DiskSize | undefined): CopiedDisk | { refused: Verdict } {
  const [source, ...backing] = disk.sources;
  const { target, format } = disk;
  const why = whyNot();
  if (why !== undefined) return { refused: fail(`a disk of this host alone, which can't be copied: ${why}`, REMEDY) };
  return {
    target,
    path: (source as { path: string }).path,
    format: format as CopiedDisk['format'],
    capacityBytes: size!.capacityBytes,
    allocatedBytes: size!.allocatedBytes,
  };

  function whyNot(): string | undefined {
    if (source?.kind !== 'file') return 'it is not an image in a file';
    if (backing.length > 0) return `${source.path} has a backing image, and only whole images are copied`;
    if (format !== 'raw' && format !== 'qcow2') return `its format is ${format ?? 'not said'}, not raw or qcow2`;
    if (disk.encrypted) return 'it is encrypted';
    if (disk.readonly) return 'it is read-only, which libvirt does not copy';
    if (size === undefined) return 'libvirt does not say how large it is';
    return undefined;
  }
}

const REMEDY =
  'put the image on storage that both hosts mount, make it one whole raw or qcow2 file, or take the disk off';
