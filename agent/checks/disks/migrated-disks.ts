import { dirname } from 'node:path/posix';
import { mib } from '../../../common/units.ts';
import type { MigratedDisk } from '../../../contract/migrated-storage.ts';
import type { AgentDeps } from '../../deps.ts';
import { messageOf } from '../../error-message.ts';
import { fail, type NamedCheck, pass, type Verdict } from '../check.ts';
import { checkDiskSpace } from './disk-space.ts';
import { type LocalDisk, migratedDisksOf } from './local-disks.ts';

/** On the source: what would be copied. */
export function migratedDiskSourceChecks(local: readonly LocalDisk[]): NamedCheck[] {
  return local.map(({ disk, copied }) => [
    `disk:${disk.target}`,
    () =>
      'refused' in copied ? copied.refused : pass(`${describe(copied)}: a disk of this host alone, to be copied along`),
  ]);
}

/** On the destination: whether the paths are free and the file systems have enough space. */
export function migratedDiskDestinationChecks(
  { facts, images }: Pick<AgentDeps, 'facts' | 'images'>,
  local: readonly LocalDisk[],
): NamedCheck[] {
  const disks = migratedDisksOf(local);
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
  const space = async (): Promise<Verdict> => {
    try {
      await images.mustMakeImages();
    } catch (error) {
      return fail(`no images can be made here: ${messageOf(error)}`, 'install qemu-img (package qemu-utils)');
    }
    const found = await Promise.allSettled(
      disks.map(async (disk) => ({ disk, space: await images.space(dirname(disk.path)) })),
    );
    // A directory that is not there has failed the disk's own check.
    return checkDiskSpace(found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])));
  };
  return disks.length === 0 ? checks : [...checks, ['storage-room', space]];
}

const describe = ({ path, format, capacityBytes, allocatedBytes }: MigratedDisk): string =>
  `${path} (${format}, ${mib(capacityBytes, Math.ceil)}, of which ${mib(allocatedBytes, Math.ceil)} in use)`;
