import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readAssembly } from '../../../../embedded-aws/template/assembly.ts';

describe('readAssembly', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'assembly-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (name: string, content: unknown) => writeFileSync(join(folder, name), JSON.stringify(content));
  const stack = (id: string) => ({
    type: 'aws:cloudformation:stack',
    properties: { templateFile: `${id}.template.json` },
    dependencies: [`${id}.assets`],
  });

  it('finds the template, and the folder of each asset by its object key', () => {
    mkdirSync(join(folder, 'asset.abc'));
    write('manifest.json', {
      artifacts: {
        'One.assets': { type: 'cdk:asset-manifest', properties: { file: 'One.assets.json' } },
        One: stack('One'),
      },
    });
    write('One.template.json', { Resources: {} });
    write('One.assets.json', {
      files: { abc: { source: { path: 'asset.abc' }, destinations: { here: { objectKey: 'abc.zip' } } } },
    });

    const assembly = readAssembly(folder);

    expect(assembly.stackName).toBe('One');
    expect(assembly.template).toEqual({ Resources: {} });
    expect(assembly.assets.get('abc.zip')).toBe(join(folder, 'asset.abc'));
  });

  it('needs the name of one of several stacks', () => {
    write('manifest.json', { artifacts: { One: stack('One'), Two: stack('Two') } });
    write('Two.template.json', { Resources: {} });
    expect(() => readAssembly(folder)).toThrow('exactly one stack; it holds: One, Two');
    expect(readAssembly(folder, 'Two').stackName).toBe('Two');
  });

  it('says what is missing in a folder that is no assembly', () => {
    expect(() => readAssembly(folder)).toThrow('has no manifest.json');
  });
});
