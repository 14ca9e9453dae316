import { mib } from '../../../common/units.ts';
import type { MigratedDisk } from '../../../contract/migrated-storage.ts';
import { neededBytes } from '../../migrated-storage/needed-bytes.ts';
import { fail, pass, type Verdict } from '../check.ts';

/** An image that is to be made, and the free space of the file system that it is to be made on. */
export interface DiskSpace {
  disk: MigratedDisk;
  space: { fileSystem: string; availableBytes: number };
}

/** Images on one file system share its free space, so they are added up. */
export function checkDiskSpace(disks: readonly DiskSpace[]): Verdict {
  const byFileSystem = [...Map.groupBy(disks, ({ space }) => space.fileSystem).values()].map((group) => ({
    targets: group.map(({ disk }) => disk.target).join(', '),
    needed: group.reduce((sum, { disk }) => sum + neededBytes(disk), 0),
    available: Math.min(...group.map(({ space }) => space.availableBytes)),
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
