import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadHandler, mergeEnvironments } from '../../../../embedded-aws/lambda/bundle.ts';

describe('mergeEnvironments', () => {
  const one = (environment: Record<string, string>) => ({ name: 'one', environment });
  const two = (environment: Record<string, string>) => ({ name: 'two', environment });

  it('puts all together, with the local settings on top', () => {
    const merged = mergeEnvironments(
      [one({ TABLE: 't', LEVEL: 'INFO' }), two({ TABLE: 't', OTHER: 'o', LEVEL: 'DEBUG' })],
      {
        LEVEL: 'WARN',
      },
    );
    expect(merged).toEqual({ TABLE: 't', OTHER: 'o', LEVEL: 'WARN' });
  });

  it('names the functions and the variable they disagree on', () => {
    expect(() => mergeEnvironments([one({ MODE: 'a' }), two({ MODE: 'b' })], {})).toThrow(
      'one and two disagree on the environment variable MODE ("a", "b")',
    );
  });
});

describe('loadHandler', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('finds the exported handler', async () => {
    writeFileSync(join(folder, 'index.mjs'), 'export const handler = () => 42;');
    expect((await loadHandler(folder, 'index.handler'))({}, {})).toBe(42);
  });

  it('says what is missing', async () => {
    await expect(loadHandler(folder, 'index.handler')).rejects.toThrow('ESM bundles only');
    writeFileSync(join(folder, 'index.mjs'), 'export const other = 1;');
    await expect(loadHandler(folder, 'index.handler')).rejects.toThrow('does not export handler');
  });
});
