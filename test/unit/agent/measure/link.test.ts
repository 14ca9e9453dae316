import { describe, expect, it } from 'vitest';
import { checkLink, linkOf } from '../../../../agent/measure/link.ts';
import { MIB } from '../../../../common/units.ts';

describe('the link', () => {
  const known = { bytesPerSecond: 90 * MIB, ageSeconds: 7_200 };

  it.each([
    [
      { bytesPerSecond: 100 * MIB },
      known,
      { linkBytesPerSecond: 100 * MIB, linkSource: 'measured', linkAgeSeconds: 0 },
    ],
    [{ why: 'no' }, known, { linkBytesPerSecond: 90 * MIB, linkSource: 'known', linkAgeSeconds: 7_200 }],
    [{ why: 'no' }, undefined, { why: 'no' }],
  ] as const)('from %j and %j', (result, before, link) => {
    expect(linkOf(result, before)).toEqual(link);
  });

  it('passes with its age, and fails with what would help', () => {
    expect(checkLink(linkOf({ why: 'no' }, known))).toEqual({ passed: true, found: '90 MiB/s, as it was 120 min ago' });
    expect(checkLink({ why: 'no answer' })).toMatchObject({
      passed: false,
      found: expect.stringContaining('no answer'),
      remedy: expect.stringContaining('49215'),
    });
  });
});
