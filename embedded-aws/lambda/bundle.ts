import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export type Handler = (event: unknown, context: unknown) => unknown;

// Settings of a process at its start; setting them later would only reach its children.
const AT_START_ONLY = ['NODE_OPTIONS'];

/** Overrides the template's environment for all functions: they run in one process, and no one reads their traces. */
export const localEnvironment = (region: string, logLevel: string): Record<string, string> => ({
  AWS_REGION: region,
  AWS_ACCESS_KEY_ID: 'function',
  AWS_SECRET_ACCESS_KEY: 'function',
  POWERTOOLS_LOG_LEVEL: logLevel,
  POWERTOOLS_TRACE_ENABLED: 'false',
  // Otherwise the X-Ray library watches every promise of the process (async hooks), which takes half of all time.
  AWS_XRAY_MANUAL_MODE: 'true',
  POWERTOOLS_METRICS_DISABLED: 'true',
});

/**
 * One environment for all functions: they share the process. Fails when two of them want different values for one
 * variable, unless `overrides` decides it.
 */
export function mergeEnvironments(
  functions: { name: string; environment: Record<string, string> }[],
  overrides: Record<string, string>,
): Record<string, string> {
  const merged: Record<string, string> = {};
  const owners = new Map<string, string>();
  for (const { name, environment } of functions) {
    for (const [key, value] of Object.entries(environment)) {
      if (Object.hasOwn(overrides, key) || AT_START_ONLY.includes(key)) continue;
      const owner = owners.get(key);
      if (owner !== undefined && merged[key] !== value) {
        throw new Error(
          `${owner} and ${name} disagree on the environment variable ${key} ("${merged[key]}", "${value}"). ` +
            'Functions of the embedded AWS share one process, so a variable must have one value.',
        );
      }
      owners.set(key, name);
      merged[key] = value;
    }
  }
  return { ...merged, ...overrides };
}

const loaded = new Map<string, Handler>();

/**
 * Imports a function's bundle and finds its handler, such as `index.handler`, once in a process: an asset never changes. The
 * environment must be set before.
 */
export async function loadHandler(folder: string, handler: string): Promise<Handler> {
  const name = join(folder, handler);
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const dot = handler.lastIndexOf('.');
  const file = join(folder, `${handler.slice(0, dot)}.mjs`);
  if (!existsSync(file)) throw new Error(`${file} does not exist; the embedded AWS runs ESM bundles only.`);
  const bundle = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Record<string, unknown>;
  const found = bundle[handler.slice(dot + 1)];
  if (typeof found !== 'function') throw new Error(`${file} does not export ${handler.slice(dot + 1)}.`);
  loaded.set(name, found as Handler);
  return found as Handler;
}
