import { dirname, join } from 'node:path/posix';
import { HandoffError } from '../../contract/errors.ts';
import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import { messageOf } from '../error-message.ts';

/**
 * The images that a migration creates on the destination. libvirt creates none outside of storage pools. Creating them here also records
 * which files are Handoff's, even when the process that created them is gone.
 *
 * An image is created under a name of the migration's own, its mark, in the directory of its path, and then linked to the path: link(2)
 * fails where a file exists, so no file is ever overwritten. Both names refer to one file until the migration has ended. Then the mark is
 * removed, and, when the VM is not here, also the file at the path, provided that it is still the marked file.
 */

/** The operations on a host's file systems that images need. */
export interface ImageFiles {
  /** Creates an empty image of that size, in place of an earlier one. */
  create(path: string, image: Pick<MigratedDisk, 'format' | 'capacityBytes'>): Promise<void>;
  /** Gives a file a second name; returns false, and changes nothing, when that name exists. */
  link(path: string, name: string): Promise<boolean>;
  /** Identifies a file on this host independent of its names (device and inode); undefined when there is no such file. */
  identity(path: string): Promise<string | undefined>;
  /** No error when there is no such file. */
  remove(path: string): Promise<void>;
  /** The file system of a directory, and its available space. */
  space(directory: string): Promise<{ fileSystem: string; availableBytes: number }>;
  /** Rejects with the reason on a host that cannot create images. */
  mustMakeImages(): Promise<void>;
}

type Disk = Pick<MigratedDisk, 'target' | 'path'>;

export function markOf(migrationId: string, { target, path }: Disk): string {
  return join(dirname(path), `.handoff-${migrationId}.${target}`);
}

/** Can be repeated after an interruption. When an image cannot be created, none is left. */
export async function makeImages(
  files: ImageFiles,
  migrationId: string,
  disks: readonly MigratedDisk[],
): Promise<string[]> {
  try {
    for (const disk of disks) await makeImage(files, markOf(migrationId, disk), disk);
  } catch (error) {
    // Recovery removes what cannot be removed here.
    await removeImages(files, migrationId, disks).catch(() => {});
    if (error instanceof HandoffError) throw error;
    throw new HandoffError('StorageFailed', `an image could not be made: ${messageOf(error)}`, { cause: error });
  }
  return disks.map(({ path }) => path);
}

async function makeImage(files: ImageFiles, mark: string, disk: MigratedDisk): Promise<void> {
  if (await isOurs(files, mark, disk.path)) return;
  // Checked before anything is written, so that the common refusal costs nothing; the link is the guarantee.
  if ((await files.identity(disk.path)) !== undefined) throw inTheWay(disk);
  await files.create(mark, disk);
  if (!(await files.link(mark, disk.path))) throw inTheWay(disk);
}

const inTheWay = ({ path }: Disk): HandoffError =>
  new HandoffError('StorageFailed', `${path} is there already, and was not touched`);

/** The paths of this migration's images that are still marked. */
export async function madeImages(files: ImageFiles, migrationId: string, disks: readonly Disk[]): Promise<string[]> {
  const marked = await Promise.all(
    disks.map(async (disk) => (await files.identity(markOf(migrationId, disk))) !== undefined),
  );
  return disks.filter((_, index) => marked[index]).map(({ path }) => path);
}

/** Leaves the images to the VM, by removing their marks. */
export async function keepImages(files: ImageFiles, migrationId: string, disks: readonly Disk[]): Promise<void> {
  for (const disk of disks) {
    const mark = markOf(migrationId, disk);
    if ((await files.identity(mark)) === undefined) continue;
    if ((await files.identity(disk.path)) === undefined) {
      // The mark may be the last name of a file that a guest has open, so it stays.
      throw new HandoffError('NeedsOperator', `${disk.path} is gone; the image that was made for it is ${mark}`);
    }
    await files.remove(mark);
  }
}

/** Removes the files that this migration created, and no other. The mark is removed last, so that an interrupted attempt is recognized. */
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
