import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dependencyViolations } from '../../../checks/dependencies.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'handoff-checks-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** The first lines of what the check says of a checkout of these files; each is given with the files it imports. */
async function violations(files: Record<string, readonly string[]>): Promise<string[]> {
  const all = { ...Object.fromEntries(Object.values(files).flatMap((to) => to.map((path) => [path, []]))), ...files };
  for (const [path, imports] of Object.entries(all)) {
    const up = '../'.repeat(path.split('/').length - 1) || './';
    const lines = imports.map((to) => `import type { T } from '${to.includes('/') ? up : ''}${to}';`);
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), [...lines, 'export type T = 1;', ''].join('\n'));
  }
  return (await dependencyViolations(root)).map((text) => text.split('\n')[0]!);
}

describe('the check of dependencies', () => {
  it('accepts the directions of the layout', async () => {
    expect(
      await violations({
        'common/a.ts': ['contract/a.ts'],
        'agent/a.ts': ['common/a.ts', 'contract/a.ts', 'agent/b/c.ts', 'zod'],
        'lambdas/a.ts': ['common/a.ts', 'contract/a.ts'],
        'cdk/a.ts': ['lambdas/a.ts', 'contract/a.ts'],
        'cli/a.ts': ['contract/a.ts', 'common/a.ts'],
        'embedded-aws/a.ts': ['common/clock.ts', 'common/pseudo-random.ts'],
        'simulator/a.ts': ['embedded-aws/a.ts', 'agent/a.ts', 'cdk/a.ts'],
        'lab/a.ts': ['agent/a.ts', 'cli/a.ts', 'simulator/a.ts', 'embedded-aws/a.ts'],
        'bench/a.ts': ['lab/a.ts', 'lambdas/a.ts'],
        'test/unit/a.test.ts': ['bench/a.ts', 'checks/a.ts', 'test/fixtures/a.ts'],
        'contract/a.ts': ['zod'],
      }),
    ).toEqual([]);
  });

  it.each([
    ['contract', 'common/a.ts'],
    ['common', 'agent/a.ts'],
    ['agent', 'lambdas/a.ts'],
    ['lambdas', 'agent/a.ts'],
    ['cdk', 'agent/a.ts'],
    ['cli', 'lambdas/a.ts'],
    ['embedded-aws', 'common/units.ts'],
    ['simulator', 'cli/a.ts'],
    ['lab', 'lambdas/a.ts'],
    ['checks', 'common/a.ts'],
  ])('refuses that %s/ imports %s', async (folder, to) => {
    expect(await violations({ [`${folder}/sub/x.ts`]: [to] })).toEqual([
      `direction-of-${folder}: ${folder}/sub/x.ts -> ${to}`,
    ]);
  });

  it('refuses an import from a folder that has no directions yet', async () => {
    expect(await violations({ 'planner/a.ts': ['planner/b.ts', 'common/a.ts'] })).toEqual([
      'direction-of-unlisted-folder: planner/a.ts -> common/a.ts',
    ]);
  });

  it.each(['bench', 'lab', 'agent'])('refuses that %s/ imports from test/', async (folder) => {
    expect(await violations({ [`${folder}/x.ts`]: ['test/lab/support/a.ts'] })).toEqual([
      `no-import-from-test: ${folder}/x.ts -> test/lab/support/a.ts`,
    ]);
  });

  it('refuses a package other than zod, and a module of Node, in the contract', async () => {
    expect(await violations({ 'contract/a.ts': ['zod'], 'contract/b.ts': ['commander', 'node:fs'] })).toEqual([
      'contract-needs-zod-only: contract/b.ts -> commander',
      'contract-needs-zod-only: contract/b.ts -> fs',
    ]);
  });

  it('refuses a circle of files', async () => {
    expect(await violations({ 'agent/a.ts': ['agent/b.ts'], 'agent/b.ts': ['agent/a.ts'] })).toEqual([
      'no-file-circle: agent/a.ts -> agent/b.ts -> agent/a.ts',
    ]);
  });

  it('refuses a circle of folders in one of the top level, though no files are in a circle', async () => {
    const files = {
      'agent/a/1.ts': ['agent/b/1.ts'],
      'agent/b/2.ts': ['agent/c/deep/1.ts'],
      'agent/c/2.ts': ['agent/a/2.ts'],
    };
    expect(await violations(files)).toEqual(['no-folder-circle: agent/: a, b, c']);
  });

  it('refuses a circle of folders of the top level', async () => {
    const files = { 'bench/a.ts': ['lab/a.ts'], 'lab/b.ts': ['bench/b.ts'] };
    expect(await violations(files)).toContain('no-folder-circle: ./: bench, lab');
  });

  it('takes a file beside the folders for an entry of its own', async () => {
    expect(await violations({ 'agent/main.ts': ['agent/a/1.ts'], 'agent/a/1.ts': ['agent/deps.ts'] })).toEqual([]);
    expect(await violations({ 'agent/deps.ts': ['agent/a/2.ts'] })).toEqual(['no-folder-circle: agent/: a, deps.ts']);
  });
});
