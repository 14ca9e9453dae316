import { mib } from '../../common/units.ts';
import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import { fail, pass, type Verdict } from '../checks/check.ts';

/**
 * What an image will take on the destination. The holes of a raw image are written there as zeros (seen with QEMU 10.0.2); those of
 * a qcow2 image stay holes.
 */
export function neededBytes({ format, capacityBytes, allocatedBytes }: MigratedDisk): number {
  return format === 'raw' ? capacityBytes : allocatedBytes;
}

/** Several images may go to one file system: they need its room together. */
export function checkRoom(
  disks: readonly { disk: MigratedDisk; room: { fileSystem: string; availableBytes: number } }[],
): Verdict {
  const byFileSystem = [...Map.groupBy(disks, ({ room }) => room.fileSystem).values()].map((group) => ({
    targets: group.map(({ disk }) => disk.target).join(', '),
    needed: group.reduce((sum, { disk }) => sum + neededBytes(disk), 0),
    available: Math.min(...group.map(({ room }) => room.availableBytes)),
  }));
  const short = byFileSystem.find(({ needed, available }) => needed > available);
  const found = byFileSystem
    .map(
      ({ targets, needed, available }) =>
        `${targets}: ${mib(needed, Math.ceil)} needed, ${mib(available, Math.floor)} free`,
    )
    .join('; ');
  return short === undefined
    ? pass(found)
    : fail(found, `free ${mib(short.needed - short.available, Math.ceil)} there, or choose another destination`);
}
