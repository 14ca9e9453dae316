import { describe, expect, it } from 'vitest';
import { forecast } from '../../../../agent/convergence/forecast.ts';
import { checkPolicy } from '../../../../agent/convergence/policy-check.ts';
import { forecastStorage } from '../../../../agent/migrated-storage/storage-forecast.ts';
import { MIB } from '../../../../common/units.ts';
import type { Measurements } from '../../../../contract/forecast.ts';
import type { MigratedDisk } from '../../../../contract/migrated-storage.ts';
import { Policy } from '../../../../contract/policy.ts';

const GIB = 1024 * MIB;

const qcow2: MigratedDisk = {
  target: 'vda',
  path: '/a/vda',
  format: 'qcow2',
  capacityBytes: 10 * GIB,
  allocatedBytes: 2 * GIB,
};
const raw: MigratedDisk = { ...qcow2, target: 'vdb', path: '/a/vdb', format: 'raw' };
const measured: Measurements = {
  dirtyBytesPerSecond: 5 * MIB,
  workingSetBytes: 50 * MIB,
  memoryBytes: 512 * MIB,
  residentBytes: 400 * MIB,
  cpuUse: 0.1,
  linkBytesPerSecond: 100 * MIB,
  linkSource: 'measured',
  linkAgeSeconds: 0,
  roundTripMs: 1,
  supportsAvailSwitchoverBandwidth: false,
};
const policy = (change: Partial<Policy> = {}) => Policy.parse({ migrateStorage: true, ...change });

describe('the forecast of disks copied along', () => {
  it.each([
    ['what a qcow2 image holds, over the link', [qcow2], {}, 0, 20_480 + 150],
    ['the holes of a raw image, which are written there', [raw], {}, 0, 20_480 + 10_240 + 150],
    ['no more than a limit', [qcow2], { bandwidthMiBps: 50 }, 0, 40_960 + 150],
    ['holes too under a limit', [raw], { bandwidthMiBps: 50 }, 0, 204_800 + 150],
    ['a limit shared by two disks', [qcow2, { ...qcow2, target: 'vdb' }], { bandwidthMiBps: 50 }, 0, 81_920 + 150],
    ['what the guest writes meanwhile', [qcow2], {}, 50, 40_960 + 150],
  ])('counts %s', (_, disks, change, writesMiBps, expected) => {
    const found = forecastStorage({ ...measured, disks, diskWriteBytesPerSecond: writesMiBps * MIB }, policy(change));
    expect(found?.ms.expected).toBe(expected);
    expect(found?.ms.low).toBeLessThan(expected);
    expect(found?.ms.high).toBeGreaterThan(expected);
    expect(found?.ends).toBe(true);
  });

  it('is none of a VM without such disks', () => {
    expect(forecastStorage(measured, policy())).toBeUndefined();
    expect(forecast(measured, policy())).not.toHaveProperty('storage');
  });

  it('is a part of the whole, and the plan names the disks', () => {
    const without = forecast(measured, policy());
    const found = forecast({ ...measured, disks: [qcow2] }, policy());
    expect(found.totalMs.expected - without.totalMs.expected).toBe(found.storage?.ms.expected);
    expect(found.bytes.expected - without.bytes.expected).toBe(2 * GIB);
    expect(found.plan.disks).toEqual([qcow2]);
  });

  const judge = (change: Partial<Policy>, writesMiBps = 0) => {
    const all = { ...measured, disks: [qcow2], diskWriteBytesPerSecond: writesMiBps * MIB };
    return checkPolicy(forecast(all, policy(change)), policy(change), all);
  };

  it('is held against the policy', () => {
    expect(judge({})).toMatchObject({ passed: true });
    expect(judge({ deadlineSeconds: 15 })).toMatchObject({
      passed: false,
      found: expect.stringContaining('the deadline is 15 s'),
      remedy: expect.stringContaining('a deadlineSeconds of'),
    });
    expect(judge({ onNonConvergence: 'postcopy' })).toMatchObject({
      passed: false,
      found: expect.stringContaining('post-copy is not possible'),
      remedy: expect.stringMatching(/^onNonConvergence: abort, or onNonConvergence: exceed/),
    });
    expect(judge({}, 95)).toMatchObject({ passed: false, found: expect.stringContaining('would not end') });
    expect(judge({ bandwidthMiBps: 20 }, 30)).toMatchObject({
      passed: false,
      remedy: expect.stringContaining('no bandwidth limit'),
    });
  });

  it('never makes post-copy a remedy', () => {
    const all = { ...measured, dirtyBytesPerSecond: 300 * MIB, workingSetBytes: 300 * MIB, disks: [qcow2] };
    const strict = policy({ autoConverge: false });
    const verdict = checkPolicy(forecast(all, strict), strict, all);
    expect(verdict.passed).toBe(false);
    expect(JSON.stringify(verdict)).not.toContain('postcopy');
  });
});
