import { describe, expect, it } from 'vitest';
import { migratedDisk } from '../../../../../agent/checks/disks/migratable-disk.ts';
import type { Disk } from '../../../../../agent/domain-xml.ts';
import { MIB } from '../../../../../common/units.ts';

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
