import { execFile } from 'node:child_process';
import { link, rm, stat, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ImageFiles } from './images.ts';

const run = promisify(execFile);

/** Creates images with `qemu-img`, which is part of QEMU's tools. */
export const linuxImages: ImageFiles = {
  async create(path, { format, capacityBytes }) {
    await run('qemu-img', ['create', '-q', '-f', format, path, `${capacityBytes}`]);
  },
  async link(path, name) {
    try {
      await link(path, name);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  },
  async identity(path) {
    try {
      const { dev, ino } = await stat(path, { bigint: true });
      return `${dev}:${ino}`;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  remove: (path) => rm(path, { force: true }),
  async space(directory) {
    const [{ dev }, { bavail, bsize }] = await Promise.all([stat(directory), statfs(directory)]);
    return { fileSystem: `${dev}`, availableBytes: bavail * bsize };
  },
  async mustMakeImages() {
    await run('qemu-img', ['--version']);
  },
};
