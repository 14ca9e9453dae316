import { describe, expect, it } from 'vitest';
import { fail, pass, runChecks } from '../../../../agent/checks/check.ts';

describe('running checks', () => {
  it('runs all of them, and takes one that throws for a failed one', async () => {
    const checks = await runChecks([
      ['a', () => fail('bad', 'mend it')],
      ['b', () => Promise.reject(new Error('libvirt went away'))],
      ['c', () => pass('good')],
    ]);
    expect(checks).toMatchObject([
      { name: 'a', passed: false, found: 'bad', remedy: 'mend it' },
      { name: 'b', passed: false, found: 'libvirt went away', remedy: expect.any(String) },
      { name: 'c', passed: true, found: 'good' },
    ]);
  });
});
