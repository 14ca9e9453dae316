import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { build } from 'esbuild';
import manifest from '../package.json' with { type: 'json' };

const root = new URL('..', import.meta.url);
const outfile = new URL('dist/handoff-agent.mjs', root).pathname;

/**
 * Node keeps the compiled code (25 ms of 160 ms at each start). The variable must be set before the file is loaded, and a folder of
 * root's own is a must: by default it would trust one in /tmp, which anybody could have made.
 */
const SHEBANG = '#!/usr/bin/env -S NODE_COMPILE_CACHE=/var/cache/handoff node';
/** Some of the SDK's packages are CommonJS and ask for Node's modules by `require`. */
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/**
 * Bundles the agent into one file that a host with Node 24 can run; returns its path. The file is replaced as a whole: an agent that
 * starts meanwhile, or another build, never meets half of it.
 */
export async function buildAgent(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [new URL('agent/main.ts', root).pathname],
    outfile,
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    sourcemap: true,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    define: { HANDOFF_VERSION: JSON.stringify(manifest.version) },
    banner: { js: `${SHEBANG}\n${REQUIRE}` },
  });
  await mkdir(dirname(outfile), { recursive: true });
  for (const { path, contents } of outputFiles) {
    const unfinished = `${path}.${process.pid}`;
    await writeFile(unfinished, contents);
    await chmod(unfinished, 0o755);
    await rename(unfinished, path);
  }
  return outfile;
}

if (import.meta.main) console.log(await buildAgent());
