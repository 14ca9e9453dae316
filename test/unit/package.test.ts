import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const read = (file: string) => JSON.parse(readFileSync(join(import.meta.dirname, '../..', file), 'utf8'));
const manifest: { dependencies: Record<string, string>; devDependencies: Record<string, string> } =
  read('package.json');
const lock: { packages: Record<string, { version?: string }> } = read('package-lock.json');

/** The SDK's packages that are released together; its utilities (util-dynamodb) have versions of their own. */
const RELEASED_TOGETHER = /@aws-sdk\/(client-|lib-|credential-providers$)/;

describe('package.json', () => {
  it('has all clients of the AWS SDK in one version, and the lock file has no other', () => {
    const wanted = Object.entries(manifest.dependencies).filter(([name]) => RELEASED_TOGETHER.test(name));
    const locked = Object.entries(lock.packages)
      .filter(([path]) => RELEASED_TOGETHER.test(path.slice(path.lastIndexOf('node_modules/'))))
      .map(([, { version }]) => version);
    expect(wanted.length).toBeGreaterThan(1);
    expect(new Set([...wanted.map(([, version]) => version), ...locked]).size).toBe(1);
  });

  it('names exact versions, in alphabetical order', () => {
    for (const group of [manifest.dependencies, manifest.devDependencies]) {
      expect(Object.keys(group)).toEqual(Object.keys(group).sort());
      expect(Object.values(group).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    }
  });
});
