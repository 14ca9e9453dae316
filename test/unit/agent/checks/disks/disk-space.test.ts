import { expect, it } from 'vitest';
import { checkDiskSpace } from '../../../../../agent/checks/disks/disk-space.ts';
import { MIB } from '../../../../../common/units.ts';
import type { MigratedDisk } from '../../../../../contract/migrated-storage.ts';

const GIB = 1024 * MIB;

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
])('the free space is %s', (_, disks, passed) => {
  expect(checkDiskSpace(disks).passed).toBe(passed);
});

it('states how much space is missing', () => {
  expect(checkDiskSpace([{ disk: raw, space: space(9) }])).toMatchObject({
    found: 'vdb: 10240 MiB needed, 9216 MiB free',
    remedy: 'free 1024 MiB there, or choose another destination',
  });
});
