import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../command.ts';
import { CACHE } from '../guest-image/image.ts';

const SOURCE = join(import.meta.dirname, 'post-copy-resume-preload.c');
const DRIVER = 'libvirt/connection-driver/libvirt_driver_qemu.so';
/** Debian's and Fedora's. */
const LIBRARY_FOLDERS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib/aarch64-linux-gnu'];

/**
 * The library to load into libvirtd so that a post-copy can be resumed; undefined for versions that need none. What it stands in
 * for is 11.3's own; where another version crashes too, the test of the resume says so.
 */
export async function postCopyResumePreload(): Promise<string | undefined> {
  if (!/\b11\.3\.\d/.test(await run(['libvirtd', '--version']))) return undefined;
  const folder = LIBRARY_FOLDERS.find((each) => existsSync(join(each, DRIVER)));
  if (folder === undefined) throw new Error(`libvirt's QEMU driver is in none of ${LIBRARY_FOLDERS.join(', ')}`);
  const hash = createHash('sha256')
    .update(await readFile(SOURCE))
    .update(folder)
    .digest('hex');
  const library = join(CACHE, `post-copy-resume-preload-${hash.slice(0, 16)}.so`);
  if (!existsSync(library)) {
    await mkdir(dirname(library), { recursive: true });
    const building = `${library}.${randomUUID()}`;
    const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', `-DLIBDIR="${folder}"`];
    await run(['gcc', ...flags, '-o', building, SOURCE]);
    await rename(building, library);
  }
  return library;
}
