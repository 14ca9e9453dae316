import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../command.ts';
import { CACHE, guestImage } from '../guest-image/image.ts';
import { cachedKernel, downloadKernel } from '../guest-image/kernel.ts';
import { backportsSource, osField, suitesOffering } from './apt.ts';
import { MINIMUM_QEMU, machineSupport, missingNeeds, NEEDS, qemuIsOld } from './support.ts';

const BACKPORTS_FILE = '/etc/apt/sources.list.d/handoff-lab-backports.sources';
const QUIET = { ...(process.env as Record<string, string>), DEBIAN_FRONTEND: 'noninteractive' };

/**
 * Installs what the lab needs and the machine lacks, through apt, telling `say` each step and its reason beforehand. Does
 * nothing, quickly, when all is there. Rejects when this machine cannot have a lab, saying why.
 */
export async function installLab(say: (line: string) => void): Promise<void> {
  const support = machineSupport();
  if (!support.able) throw new Error(support.reason);
  const missing = missingNeeds();
  const old = qemuIsOld();
  if (missing.length > 0 || old) {
    const suite = await requireApt(say);
    // With a QEMU that is too old its helpers and libvirt are replaced too: they come from one suite.
    const packages = (old ? NEEDS : missing).map((need) => need.packageName);
    for (const need of missing) say(`${need.packageName} is missing: ${need.what}`);
    if (old) say(`this QEMU is older than ${MINIMUM_QEMU}.0, which loses memory writes of emulated guests it migrates`);
    say(`installing ${packages.join(' ')}${suite === undefined ? '' : ` from ${suite}`}`);
    const from = suite === undefined ? [] : ['--target-release', suite];
    await run(['apt-get', 'install', '--yes', '--no-install-recommends', ...from, ...packages], { env: QUIET });
  }
  if (cachedKernel(CACHE) === undefined) {
    say(`downloading a kernel for the guests to ${CACHE}; it is not installed on this machine`);
    await downloadKernel('linux-image-cloud-amd64', CACHE);
  }
  await guestImage();
}

/** Makes apt ready to install a new enough QEMU; returns the suite it must come from when that is not the default. */
async function requireApt(say: (line: string) => void): Promise<string | undefined> {
  const osRelease = existsSync('/etc/os-release') ? await readFile('/etc/os-release', 'utf8') : '';
  const distribution = osField(osRelease, 'PRETTY_NAME') ?? 'an unknown system';
  if (osField(osRelease, 'ID') !== 'debian' || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`the lab can be installed on Debian 12 or later, and this is ${distribution}`);
  }
  say('fetching the package lists: apt-get update');
  await run(['apt-get', 'update'], { env: QUIET });
  const codename = osField(osRelease, 'VERSION_CODENAME') ?? '';
  const backports = `${codename}-backports`;
  if ((await suites()).some((suite) => suite !== backports)) return undefined;
  if (!(await suites()).includes(backports)) {
    const source = backportsSource(await aptSources(), codename);
    if (source === undefined) throw new Error(`no source for ${codename} under /etc/apt to take ${backports} from`);
    say(`adding ${backports} as ${BACKPORTS_FILE}: ${codename} itself has no QEMU ${MINIMUM_QEMU}.0`);
    await writeFile(BACKPORTS_FILE, source);
    await run(['apt-get', 'update'], { env: QUIET });
    if (!(await suites()).includes(backports)) throw new Error(`${backports} has no QEMU ${MINIMUM_QEMU}.0 or later`);
  }
  return backports;
}

/** Where a QEMU that is new enough can be had. */
async function suites(): Promise<string[]> {
  return suitesOffering(await run(['apt-cache', 'madison', 'qemu-system-x86']), MINIMUM_QEMU);
}

async function aptSources(): Promise<string[]> {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? (await readdir(folder)).map((file) => join(folder, file)) : [];
  const read = ['/etc/apt/sources.list', ...files].filter((file) => /\.(list|sources)$/.test(file) && existsSync(file));
  return await Promise.all(read.map((file) => readFile(file, 'utf8')));
}
