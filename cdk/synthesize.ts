import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SHARED_PACKAGES } from './shared-packages.ts';

const PROJECT = new URL('..', import.meta.url).pathname;
const FOLDER = join(PROJECT, '.handoff');
const DAY_MS = 24 * 3_600_000;
const SOURCES = ['cdk/**/*.ts', 'lambdas/**/*.ts', 'contract/**/*.ts', 'cdk.json', 'package-lock.json'];

/**
 * Synthesizes the stack with the CDK's own command, unless that was done for the same sources before: it takes some fifteen
 * seconds. Returns the cloud assembly's folder.
 *
 * Each version of the sources has a folder of its own, which appears when it is complete and never changes. So test
 * processes that come here at the same time, or an embedded AWS that runs on, are not disturbed by an edit. Folders that nobody has
 * asked for in a day go when a new one comes.
 *
 * With `sharedPackages` the functions have this project's packages in common (constructs/function.ts); all else is the same.
 */
export async function synthesize({ sharedPackages = false } = {}): Promise<string> {
  const hash = createHash('sha256').update(String(sharedPackages));
  for (const file of globSync(SOURCES, { cwd: PROJECT }).sort())
    hash.update(file).update(readFileSync(join(PROJECT, file)));
  const assembly = join(FOLDER, `assembly-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(assembly)) {
    utimesSync(assembly, new Date(), new Date());
    return assembly;
  }
  removeOld();

  const unfinished = `${assembly}.${process.pid}`;
  const bin = join(PROJECT, 'node_modules/.bin');
  try {
    const options = sharedPackages ? ['--context', `${SHARED_PACKAGES}=true`] : [];
    await promisify(execFile)(join(bin, 'cdk'), ['synth', '--quiet', '--output', unfinished, ...options], {
      cwd: PROJECT,
      // The app must run on this Node, whichever the machine has.
      env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
      maxBuffer: 64 * 1024 * 1024,
    });
    renameSync(unfinished, assembly);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(assembly)) throw error;
  }
  return assembly;
}

function removeOld(): void {
  for (const name of globSync('assembly-*', { cwd: FOLDER })) {
    const folder = join(FOLDER, name);
    // Another process may be at the same.
    const old = Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Number.NaN) > DAY_MS;
    if (old) rmSync(folder, { recursive: true, force: true });
  }
}
