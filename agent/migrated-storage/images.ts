import { dirname, join } from 'node:path/posix';
import { HandoffError } from '../../contract/errors.ts';
import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import { messageOf } from '../error-message.ts';

/**
 * The images that a migration makes on the destination. libvirt does not make them outside of storage pools, and with them in our
 * hands we know which files are ours, whatever happens to whoever made them.
 *
 * An image is made under the migration's own name, its mark, beside where it belongs, and then linked to its path: link(2) fails
 * where a file is, so that none is ever overwritten. Both names are of one file until the migration is over. Then the mark goes, and
 * with it, when the VM is not here, the file at the path; but only if that is still the one that bears the mark.
 */

/** What making disk images needs of a host's file systems. */
export interface ImageFiles {
  /** Makes an empty image of that size; one that is there already is made anew. */
  create(path: string, image: Pick<MigratedDisk, 'format' | 'capacityBytes'>): Promise<void>;
  /** Gives a file a second name; false, and nothing changed, when there is something of that name already. */
  link(path: string, name: string): Promise<boolean>;
  /** What tells a file from every other on this host, whatever its names; undefined when there is none of that name. */
  identity(path: string): Promise<string | undefined>;
  /** No error when there is no such file. */
  remove(path: string): Promise<void>;
  /** The file system a directory lies on, and how much more can be written there. */
  space(directory: string): Promise<{ fileSystem: string; availableBytes: number }>;
  /** Rejects, saying why, on a host that can't make images. */
  mustMakeImages(): Promise<void>;
}

type Disk = Pick<MigratedDisk, 'target' | 'path'>;

export function markOf(migrationId: string, { target, path }: Disk): string {
  return join(dirname(path), `.handoff-${migrationId}.${target}`);
}

/** May be begun again wherever it was left. When one can't be made, none is left. */
export async function makeImages(
  files: ImageFiles,
  migrationId: string,
  disks: readonly MigratedDisk[],
): Promise<string[]> {
  try {
    for (const disk of disks) await makeImage(files, markOf(migrationId, disk), disk);
  } catch (error) {
    // What can't be cleared up here is for recovery.
    await removeImages(files, migrationId, disks).catch(() => {});
    if (error instanceof HandoffError) throw error;
    throw new HandoffError('StorageFailed', `an image could not be made: ${messageOf(error)}`, { cause: error });
  }
  return disks.map(({ path }) => path);
}

async function makeImage(files: ImageFiles, mark: string, disk: MigratedDisk): Promise<void> {
  if (await isOurs(files, mark, disk.path)) return;
  // Before anything is written, so that the usual refusal costs nothing; the link is what makes sure.
  if ((await files.identity(disk.path)) !== undefined) throw inTheWay(disk);
  await files.create(mark, disk);
  if (!(await files.link(mark, disk.path))) throw inTheWay(disk);
}

const inTheWay = ({ path }: Disk): HandoffError =>
  new HandoffError('StorageFailed', `${path} is there already, and was not touched`);

/** The paths of the images of this migration that are not settled yet. */
export async function madeImages(files: ImageFiles, migrationId: string, disks: readonly Disk[]): Promise<string[]> {
  const marked = await Promise.all(
    disks.map(async (disk) => (await files.identity(markOf(migrationId, disk))) !== undefined),
  );
  return disks.filter((_, index) => marked[index]).map(({ path }) => path);
}

/** Leaves the images to the VM: they are files like any other from now on. */
export async function keepImages(files: ImageFiles, migrationId: string, disks: readonly Disk[]): Promise<void> {
  for (const disk of disks) {
    const mark = markOf(migrationId, disk);
    if ((await files.identity(mark)) === undefined) continue;
    if ((await files.identity(disk.path)) === undefined) {
      // The mark may be the last name of a file that a guest has open.
      throw new HandoffError('NeedsOperator', `${disk.path} is gone; the image that was made for it is ${mark}`);
    }
    await files.remove(mark);
  }
}

/** Removes what this migration made, and nothing else. The mark goes last, so that an attempt that was cut short can be told. */
export async function removeImages(files: ImageFiles, migrationId: string, disks: readonly Disk[]): Promise<void> {
  for (const disk of disks) {
    const mark = markOf(migrationId, disk);
    if (await isOurs(files, mark, disk.path)) await files.remove(disk.path);
    await files.remove(mark);
  }
}

async function isOurs(files: ImageFiles, mark: string, path: string): Promise<boolean> {
  const marked = await files.identity(mark);
  return marked !== undefined && marked === (await files.identity(path));
}
