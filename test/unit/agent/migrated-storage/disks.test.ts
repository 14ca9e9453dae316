import { describe, expect, it } from 'vitest';
import { checkDiskSpace } from '../../../../agent/checks/disks/disk-space.ts';
import { migratedDisk } from '../../../../agent/checks/disks/migratable-disk.ts';
import { forecast } from '../../../../agent/convergence/forecast.ts';
import { judgePolicy } from '../../../../agent/convergence/policy-check.ts';
import type { Disk } from '../../../../agent/domain-xml.ts';
import { forecastStorage } from '../../../../agent/migrated-storage/storage-forecast.ts';
import { MIB } from '../../../../common/units.ts';
import type { Measurements } from '../../../../contract/forecast.ts';
import type { MigratedDisk } from '../../../../contract/migrated-storage.ts';
import { Policy } from '../../../../contract/policy.ts';

const GIB = 1024 * MIB;

const onDisk: Disk = {
  target: 'vda',
  sources: [{ kind: 'file', path: '/images/web01.qcow2' }],
  format: 'qcow2',
  readonly: false,
  encrypted: false,
};
const size = { target: 'vda', capacityBytes: 10 * GIB, allocatedBytes: 2 * GIB, writtenBytes: 0 };

describe('a disk of one host alone', () => {
  it('is copied as it is', () => {
    expect(migratedDisk(onDisk, size)).toEqual({
      target: 'vda',
      path: '/images/web01.qcow2',
      format: 'qcow2',
      capacityBytes: 10 * GIB,
      allocatedBytes: 2 * GIB,
    });
  });

  it.each([
    ['a block device', { sources: [{ kind: 'block', path: '/dev/vg0/web' }] }, 'not an image in a file'],
    ['no medium', { sources: [] }, 'not an image in a file'],
    [
      'an overlay',
      { sources: [...onDisk.sources, { kind: 'file', path: '/images/base.qcow2' }] },
      'has a backing image',
    ],
    ['another format', { format: 'vmdk' }, 'vmdk'],
    ['an unnamed format', { format: undefined }, 'not given'],
    ['an encrypted image', { encrypted: true }, 'encrypted'],
    ['a read-only disk', { readonly: true }, 'read-only'],
  ] satisfies [string, Partial<Disk>, string][])('is refused with words where it is %s', (_, change, words) => {
    const { refused } = migratedDisk({ ...onDisk, ...change }, size) as { refused: { found: string; remedy: string } };
    expect(refused.found).toContain(words);
    expect(refused.remedy).toContain('storage that both hosts mount');
  });

  it('is refused where its size is not known', () => {
    expect(migratedDisk(onDisk, undefined)).toMatchObject({ refused: { passed: false } });
  });
});

const qcow2: MigratedDisk = {
  target: 'vda',
  path: '/a/vda',
  format: 'qcow2',
  capacityBytes: 10 * GIB,
  allocatedBytes: 2 * GIB,
};
const raw: MigratedDisk = { ...qcow2, target: 'vdb', path: '/a/vdb', format: 'raw' };
const space = (gib: number, fileSystem = 'a') => ({ fileSystem, availableBytes: gib * GIB });

it.each([
  ['enough for what a qcow2 image holds', [{ disk: qcow2, space: space(2) }], true],
  ['too little for it', [{ disk: qcow2, space: space(1) }], false],
  ['enough for a raw image with its holes', [{ disk: raw, space: space(10) }], true],
  ['enough for a raw image without its holes only', [{ disk: raw, space: space(9) }], false],
  ['enough for one of two on a file system', [qcow2, raw].map((disk) => ({ disk, space: space(11) })), false],
  ['enough for both', [qcow2, raw].map((disk) => ({ disk, space: space(12) })), true],
  [
    'enough on each of two file systems',
    [
      { disk: qcow2, space: space(2, 'a') },
      { disk: raw, space: space(10, 'b') },
    ],
    true,
  ],
])('the room is %s', (_, disks, passed) => {
  expect(checkDiskSpace(disks).passed).toBe(passed);
});

it('says how much room is missing', () => {
  expect(checkDiskSpace([{ disk: raw, space: space(9) }])).toMatchObject({
    found: 'vdb: 10240 MiB needed, 9216 MiB free',
    remedy: 'free 1024 MiB there, or choose another destination',
  });
});

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
    return judgePolicy(forecast(all, policy(change)), policy(change), all);
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
    const verdict = judgePolicy(forecast(all, strict), strict, all);
    expect(verdict.passed).toBe(false);
    expect(JSON.stringify(verdict)).not.toContain('postcopy');
  });
});
