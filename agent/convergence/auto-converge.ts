/**
 * A model of QEMU's auto-converge. It takes CPU time from the vCPUs: a guest that uses the part `cpuUse` of its vCPUs writes at its
 * usual rate until the throttle takes more than the idle rest, and then writes less in proportion.
 */

/** The part of its usual dirty rate that a throttled guest keeps. */
export function writesLeft(throttlePercent: number, cpuUse: number): number {
  const given = 1 - throttlePercent / 100;
  return Math.min(1, given / Math.max(cpuUse, LEAST_CPU_USE));
}

/**
 * The least CPU use to compute with. A guest that hardly uses its CPU cannot catch up in slices of 10 ms after sleeps that are ten and
 * more times as long, because its timers and clients wait too. In the lab, guests that used 5-7 % kept 30, 20 and 10 % of their usual
 * dirty rate at throttles of 97, 98 and 99 %.
 */
const LEAST_CPU_USE = 0.1;
/** QEMU's maximum (max-cpu-throttle), in percent. */
export const MAX_THROTTLE = 99;
/** A throttled vCPU runs for slices of 10 ms (CPU_THROTTLE_TIMESLICE_NS) and sleeps in between. */
const SLICE_MS = 10;

/** The duration of one sleep of a throttled vCPU. */
export const sleepMs = (throttlePercent: number): number => (SLICE_MS * throttlePercent) / (100 - throttlePercent);

/**
 * The dirty rate that the throttle aims at, as a part of the bandwidth. The guest is affected by throttle times duration: at 0.8 each pass
 * shrinks by a fifth, and the copy takes four times as long as at 0.4 with hardly a weaker throttle; below 0.4 the sleeps grow and
 * little time is saved.
 */
const TARGET_DIRTY_RATE = 0.4;

/** The initial throttle, computed so that QEMU does not have to raise it step by step. */
export function firstThrottle(dirty: number, bandwidth: number, cpuUse: number): number {
  const percent = (1 - (TARGET_DIRTY_RATE * bandwidth * Math.max(cpuUse, LEAST_CPU_USE)) / dirty) * 100;
  return Math.round(Math.min(Math.max(percent, 1), MAX_THROTTLE));
}

/** For QEMU a pass is too dirty when the guest dirtied more than this part of what was sent (throttle-trigger-threshold). */
export const TOO_DIRTY = 0.5;
/** After so many such passes QEMU throttles, or throttles more. */
export const TOO_DIRTY_PASSES = 2;
/** QEMU evaluates the ratio in periods of at least this length. */
export const PERIOD_SECONDS = 1;
