import { describe, expect, it } from 'vitest';
import type { MigrationOptions } from '../../../../agent/hypervisor.ts';
import { jobStatsOf } from '../../../../agent/libvirt/job.ts';
import {
  beginParameters,
  destinationFlags,
  migrationParameters,
  sourceFlags,
} from '../../../../agent/libvirt/migration.ts';

const NON_SHARED_DISK = 64;
const options: MigrationOptions = { name: 'web', persistent: true };
const withDisks: MigrationOptions = { ...options, migratedDisks: ['vda', 'vdb'], diskMiBps: 40 };
const handshake = { xml: '<domain/>', cookie: Buffer.alloc(0) };

describe('disks that are copied too', () => {
  const disks = ['vda', 'vdb'].map((value) => ({ field: 'migrate_disks', type: 'string', value }));

  it('are named in every call, with the flag and their limit', () => {
    expect(beginParameters(withDisks)).toEqual(disks);
    expect(migrationParameters({ ...withDisks, ...handshake }, 'tcp:a:1')).toEqual(
      expect.arrayContaining([...disks, { field: 'bandwidth', type: 'ullong', value: 40n }]),
    );
    expect(sourceFlags(withDisks) & NON_SHARED_DISK).toBe(NON_SHARED_DISK);
    expect(destinationFlags(withDisks) & NON_SHARED_DISK).toBe(NON_SHARED_DISK);
  });

  it.each([
    ['none', options],
    ['an empty list', { ...options, migratedDisks: [] }],
  ])('leave no trace where there are %s', (_, plain) => {
    expect(beginParameters(plain)).toEqual([]);
    expect(migrationParameters({ ...plain, ...handshake }).map(({ field }) => field)).toEqual([
      'destination_xml',
      'destination_name',
    ]);
    expect(sourceFlags(plain) & NON_SHARED_DISK).toBe(0);
  });
});

describe('job statistics', () => {
  const field = (name: string, value: number) => [name, BigInt(value)] as const;
  const memory = [field('memory_total', 100), field('memory_processed', 30), field('memory_remaining', 70)];
  const disk = [field('disk_total', 1_000), field('disk_processed', 990), field('disk_remaining', 10)];
  const sum = [field('data_total', 1_100), field('data_processed', 1_020), field('data_remaining', 80)];

  it('keep memory and disks apart: braking is a matter of memory', () => {
    expect(jobStatsOf(new Map([...memory, ...disk, ...sum]))).toMatchObject({
      bytesTotal: 100,
      bytesProcessed: 30,
      bytesRemaining: 70,
      disks: { bytesTotal: 1_000, bytesProcessed: 990, bytesRemaining: 10 },
    });
  });

  it('have no memory while only disks are copied, and no disks where none are', () => {
    expect(jobStatsOf(new Map([...disk, field('data_total', 1_000)]))).toMatchObject({ bytesTotal: 0 });
    expect(jobStatsOf(new Map(memory))).not.toHaveProperty('disks');
  });
});
