import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../command.ts';
import { cpio } from './cpio.ts';
import { cachedKernel, type Kernel, loadOrder } from './kernel.ts';

export interface GuestImage {
  kernel: string;
  initramfs: string;
}

const SOURCE = join(import.meta.dirname, 'guest.c');
const COMPILE = ['gcc', '-static', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-o'];
/** The drivers of the devices in guest/domain.ts. */
const DRIVERS = ['virtio_pci', 'virtio_net', 'virtio_blk'];

/** Where what was downloaded and built is kept; the lab's end leaves it. */
export const CACHE = '/var/cache/handoff-lab';

/**
 * What lab guests boot from: the kernel that the installation fetched, and an initramfs of guest.c as /init with the kernel
 * modules it loads. Built once for each combination of source, flags and kernel.
 */
export async function guestImage(): Promise<GuestImage> {
  const kernel = cachedKernel(CACHE);
  if (kernel === undefined) throw new Error('there is no kernel for guests yet: install the lab first');
  return await build(kernel);
}

async function build(kernel: Kernel): Promise<GuestImage> {
  const source = await readFile(SOURCE);
  const hash = createHash('sha256').update(source).update(COMPILE.join(' ')).update(kernel.release).digest('hex');
  const initramfs = join(CACHE, `guest-${hash.slice(0, 16)}.cpio`);
  if (!existsSync(initramfs)) {
    await mkdir(dirname(initramfs), { recursive: true });
    const program = `${initramfs}.program.${process.pid}`;
    await run([...COMPILE, program, SOURCE]);
    const modules = await loadOrder(kernel, DRIVERS);
    const archive = cpio([
      { path: 'dev', mode: 0o40755 },
      // The kernel opens it for the first process, before anything is mounted.
      { path: 'dev/console', mode: 0o20600, device: { major: 5, minor: 1 } },
      { path: 'modules', mode: 0o40755 },
      { path: 'modules/list', mode: 0o100644, data: Buffer.from(modules.map((m) => `${m.name}.ko\n`).join('')) },
      ...modules.map((m) => ({ path: `modules/${m.name}.ko`, mode: 0o100644, data: m.data })),
      { path: 'init', mode: 0o100755, data: await readFile(program) },
    ]);
    await rm(program);
    // Renamed into place whole, so that two labs coming up at once never see half of it.
    await writeFile(`${initramfs}.${process.pid}`, archive);
    await rename(`${initramfs}.${process.pid}`, initramfs);
  }
  return { kernel: kernel.image, initramfs };
}
