import { MIB } from '../../common/units.ts';
import type { Forecast, Measurements } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import { neededBytes } from './needed-bytes.ts';

/** Until libvirt sees that the copies of all disks are there, and begins with the memory: seen on the lab's hosts. */
const OVERHEAD_MS = 150;
/** Zeros are not sent, but read here and written there: 0.8 GiB/s and more on the lab's hosts. */
const HOLES_BYTES_PER_SECOND = 800 * MIB;
/** What was measured is the link, from memory to memory; the hosts' own disks may be slower than that, and nobody has asked them. */
const SLOWER = 1.6;
const FASTER = 0.85;
/**
 * The copy of a disk has ended when for a moment nothing is left of it. A guest that writes 60 MiB/s was followed over a link of 100,
 * and never over one of 40.
 */
const MOST_WRITING = 0.9;

/**
 * What copying disks along takes, beside the memory. The bytes are what the images hold and what the guest writes meanwhile; a limit of
 * the bandwidth also counts what is written as zeros (QEMU's mirror does).
 */
export function forecastStorage(
  { disks, linkBytesPerSecond, diskWriteBytesPerSecond: written = 0 }: Measurements,
  { bandwidthMiBps }: Policy,
): Forecast['storage'] {
  if (disks === undefined) return undefined;
  // The disks are copied side by side, each with its part of the limit.
  const limit = bandwidthMiBps > 0 ? bandwidthMiBps * MIB : Number.POSITIVE_INFINITY;
  const speed = Math.max(1, Math.min(linkBytesPerSecond, limit));
  const held = disks.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
  const holes = disks.reduce((sum, disk) => sum + Math.max(0, neededBytes(disk) - disk.allocatedBytes), 0);
  const longest = Math.max(...disks.map(neededBytes)) / (limit / disks.length);
  const seconds = Math.max(held / Math.max(1, linkBytesPerSecond) + holes / HOLES_BYTES_PER_SECOND, longest);
  const share = Math.min(written / speed, MOST_WRITING);
  // What is written while the disks are copied has to be copied after them, and so on.
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
