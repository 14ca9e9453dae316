/**
 * How QEMU's auto-converge slows a guest. It takes time from the vCPUs, not writes: a guest that needs the part `cpuUse` of its
 * vCPUs writes as before until the throttle takes more than the rest, and then in proportion.
 */

/** The part of its writes that a throttled guest still makes. */
export function writesLeft(throttlePercent: number, cpuUse: number): number {
  const given = 1 - throttlePercent / 100;
  return Math.min(1, given / Math.max(cpuUse, LEAST_CPU_USE));
}

/**
 * A guest that hardly uses its CPU can't make up in slices of 10 ms for sleeps ten and more times as long: its timers and clients
 * wait for it. On the lab, guests of 5-7 % wrote 30, 20 and 10 % of their usual at throttles of 97, 98 and 99 %.
 */
const LEAST_CPU_USE = 0.1;
/** QEMU's greatest. */
export const MAX_THROTTLE = 99;
/** QEMU lets a throttled vCPU run for slices of 10 ms (CPU_THROTTLE_TIMESLICE_NS), and sleep in between. */
const SLICE_MS = 10;

/** How long a throttled vCPU stands still at a time. */
export const sleepMs = (throttlePercent: number): number => (SLICE_MS * throttlePercent) / (100 - throttlePercent);

/**
 * The part of the bandwidth a slowed guest is to write at. It is slowed by throttle times duration: at 0.8, passes shrink by a
 * fifth each and it takes four times as long as at 0.4, with hardly a weaker throttle; below, the sleeps grow and little is won.
 */
const WISHED = 0.4;

/** The first throttle, computed so that QEMU need not feel its way up. */
export function firstThrottle(dirty: number, bandwidth: number, cpuUse: number): number {
  const percent = (1 - (WISHED * bandwidth * Math.max(cpuUse, LEAST_CPU_USE)) / dirty) * 100;
  return Math.round(Math.min(Math.max(percent, 1), MAX_THROTTLE));
}

/** A pass counts as too dirty for QEMU when it dirtied more than this part of what it sent (throttle-trigger-threshold). */
export const TOO_DIRTY = 0.5;
/** So many of them make QEMU throttle, or throttle more. */
export const TOO_DIRTY_PASSES = 2;
/** QEMU judges passes in periods of at least this length. */
export const PERIOD_SECONDS = 1;
