import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { run, runBytes } from '../command.ts';

/** A distribution's kernel, unpacked but not installed: the machine never boots from it. */
export interface Kernel {
  /** Such as `6.1.0-56-cloud-amd64`. */
  release: string;
  image: string;
  modules: string;
}

/** The newest kernel unpacked in `cache`, if any. */
export function cachedKernel(cache: string): Kernel | undefined {
  if (!existsSync(cache)) return undefined;
  const releases = readdirSync(cache).filter((name) => name.startsWith('kernel-'));
  const newest = releases.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  return newest === undefined ? undefined : kernelIn(join(cache, newest), newest.slice('kernel-'.length));
}

/**
 * Downloads the kernel package that the metapackage `name` depends on, through apt, and unpacks it into `cache`.
 * Installing it would put it into the machine's boot menu.
 */
export async function downloadKernel(name: string, cache: string): Promise<Kernel> {
  const dependencies = await run(['apt-cache', 'depends', name]);
  const packageName = /Depends: (linux-image-\d\S+)/.exec(dependencies)?.[1];
  if (packageName === undefined) throw new Error(`${name} depends on no kernel package:\n${dependencies}`);
  const release = packageName.slice('linux-image-'.length);
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'download-'));
  try {
    await run(['apt-get', 'download', packageName], { cwd: folder });
    const archive = (await readdir(folder)).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${packageName} left no package`);
    await run(['dpkg-deb', '--extract', archive, 'unpacked'], { cwd: folder });
    await rename(join(folder, 'unpacked'), join(cache, `kernel-${release}`));
  } finally {
    await rm(folder, { recursive: true });
  }
  return kernelIn(join(cache, `kernel-${release}`), release);
}

function kernelIn(folder: string, release: string): Kernel {
  const modules = [join(folder, 'lib/modules', release), join(folder, 'usr/lib/modules', release)];
  return {
    release,
    image: join(folder, 'boot', `vmlinuz-${release}`),
    modules: modules.find((path) => existsSync(path)) ?? (modules[0] as string),
  };
}

export interface KernelModule {
  name: string;
  data: Buffer;
}

/** The wanted modules and what they depend on, each after its dependencies; those built into the kernel are left out. */
export async function loadOrder(kernel: Kernel, wanted: readonly string[]): Promise<KernelModule[]> {
  const files = new Map<string, string>();
  for (const path of await readdir(kernel.modules, { recursive: true })) {
    const module = /^(.+)\.ko(\.xz|\.zst)?$/.exec(basename(path));
    if (module?.[1] !== undefined) files.set(underscored(module[1]), join(kernel.modules, path));
  }
  const builtinList = await readFile(join(kernel.modules, 'modules.builtin'), 'utf8');
  const builtin = new Set(builtinList.split('\n').map((path) => underscored(basename(path, '.ko'))));

  const ordered = new Map<string, KernelModule>();
  const add = async (name: string): Promise<void> => {
    if (ordered.has(name) || builtin.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`kernel ${kernel.release} has no module ${name}`);
    const data = await decompressed(file);
    for (const dependency of dependenciesOf(data)) await add(dependency);
    ordered.set(name, { name, data });
  };
  for (const name of wanted) await add(name);
  return [...ordered.values()];
}

/** What modinfo shows as `depends`: without depmod's index, which an unpacked kernel lacks, the module itself knows. */
function dependenciesOf(module: Buffer): string[] {
  const depends = /\0depends=([^\0]*)\0/.exec(module.toString('latin1'))?.[1] ?? '';
  return depends
    .split(',')
    .filter((name) => name !== '')
    .map(underscored);
}

async function decompressed(file: string): Promise<Buffer> {
  if (file.endsWith('.xz')) return await runBytes(['xz', '--decompress', '--stdout', file]);
  const bytes = await readFile(file);
  return file.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes;
}

/** Module names are written with `-` and `_` alike. */
function underscored(name: string): string {
  return name.replaceAll('-', '_');
}
