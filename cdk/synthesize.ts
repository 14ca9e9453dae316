import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const PROJECT = new URL('..', import.meta.url).pathname;
const SOURCES = ['cdk/**/*.ts', 'lambdas/**/*.ts', 'contract/**/*.ts', 'cdk.json', 'package-lock.json'];

/**
 * Synthesizes the stack with the CDK's own command, unless its sources are those of the last time: it takes some fifteen
 * seconds. Returns the cloud assembly's folder.
 */
export async function synthesize(): Promise<string> {
  const assembly = join(PROJECT, 'cdk.out');
  const stamp = join(assembly, 'sources.sha256');
  const hash = createHash('sha256');
  for (const file of globSync(SOURCES, { cwd: PROJECT }).sort())
    hash.update(file).update(readFileSync(join(PROJECT, file)));
  const digest = hash.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return assembly;
  const bin = join(PROJECT, 'node_modules/.bin');
  await promisify(execFile)(join(bin, 'cdk'), ['synth', '--quiet', '--output', assembly], {
    cwd: PROJECT,
    // The app must run on this Node, whichever the machine has.
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    maxBuffer: 64 * 1024 * 1024,
  });
  writeFileSync(stamp, digest);
  return assembly;
}
