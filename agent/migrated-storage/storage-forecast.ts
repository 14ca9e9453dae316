import { MIB } from '../../common/units.ts';
import type { Forecast, Measurements } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import { neededBytes } from './needed-bytes.ts';

/** The time until libvirt has noticed that all disks are copied, and begins with the memory. Measured on the lab's hosts. */
const OVERHEAD_MS = 150;
/** Holes are not sent, but read on the source and written as zeros on the destination: 0.8 GiB/s and more on the lab's hosts. */
const HOLES_BYTES_PER_SECOND = 800 * MIB;
/** The factors of the range. Only the link is measured, from memory to memory; the hosts' disks may be slower. */
const SLOWER = 1.6;
const FASTER = 0.85;
/**
 * The greatest write rate, as a part of the bandwidth, at which the copy of a disk ends: it ends when for a moment nothing is left to copy.
 * In the lab a guest that wrote 60 MiB/s was copied over a link of 100 MiB/s, and never over one of 40.
 */
const MOST_WRITING = 0.9;

/**
 * Time and bytes of the migrated disks, beside the memory. The bytes are those allocated in the images and those that the guest writes
 * meanwhile; under a bandwidth limit, holes that are written as zeros count too (as in QEMU's mirror job).
 */
export function forecastStorage(
  { disks, linkBytesPerSecond, diskWriteBytesPerSecond: written = 0 }: Measurements,
  { bandwidthMiBps }: Policy,
): Forecast['storage'] {
  if (disks === undefined) return undefined;
  // The disks are copied at the same time, each with its share of the limit.
  const limit = bandwidthMiBps > 0 ? bandwidthMiBps * MIB : Number.POSITIVE_INFINITY;
  const speed = Math.max(1, Math.min(linkBytesPerSecond, limit));
  const held = disks.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
  const holes = disks.reduce((sum, disk) => sum + Math.max(0, neededBytes(disk) - disk.allocatedBytes), 0);
  const longest = Math.max(...disks.map(neededBytes)) / (limit / disks.length);
  const seconds = Math.max(held / Math.max(1, linkBytesPerSecond) + holes / HOLES_BYTES_PER_SECOND, longest);
  const share = Math.min(written / speed, MOST_WRITING);
  // Data that is written during the copy has to be copied again, and so on.
  const ms = (seconds / (1 - share)) * 1_000;
  const bytes = held + (written * ms) / 1_000;
  return {
    ms: range(ms + OVERHEAD_MS, ms * FASTER, ms * SLOWER + 2 * OVERHEAD_MS),
    bytes: range(bytes, held, bytes * 1.2),
    ends: written < speed * MOST_WRITING,
  };
}

const range = (expected: number, low: number, high: number) => ({
  expected: Math.round(expected),
  low: Math.round(low),
  high: Math.round(high),
});
