import { MIB } from '../../common/units.ts';
import type { JobStats } from '../hypervisor.ts';

/**
 * When to brake. A copy that nears its end gets the lowest speed, so that the guest does not switch hosts before the control plane
 * permits it. Braking must begin early enough: what is left when the brake bites drains at 1 MiB/s, and is all the
 * time there is to hold. But what is left is also what the cutover still has to copy, so not earlier than needed.
 *
 * It is a car's braking distance: what passes before the brake bites (speed times reaction time), plus the room wanted.
 */

/** QEMU takes no lower speed. */
export const BRAKE_SPEED_MIBPS = 1;
/** QEMU takes no lower limit. It alone holds nothing: a pass that leaves nothing over switches whatever the limit. */
export const BRAKE_DOWNTIME_MS = 1;

/** Room for a hold of a minute: the control plane answers in seconds, unless AWS is in trouble. */
const ROOM_BYTES = 64 * MIB;
/** The copy runs between two looks; this is far more than a look (20 ms) and the calls that brake (a few ms) take. */
const REACTION_SECONDS = 0.25;
/** Small guests would otherwise brake before they have begun: at most this part of the memory is kept for the hold. */
const SHARE_OF_MEMORY = 1 / 4;

/** Bytes per second by which the rest shrinks. It can be far above the link's speed, because zero pages cost no bandwidth. */
export function shrinkRate(job: JobStats, before: JobStats | undefined): number {
  if (before === undefined || before.iteration !== job.iteration || job.elapsedMs <= before.elapsedMs) {
    return job.bytesPerSecond;
  }
  const shrunk = ((before.bytesRemaining - job.bytesRemaining) * 1_000) / (job.elapsedMs - before.elapsedMs);
  return Math.max(job.bytesPerSecond, shrunk);
}

/** The rest, in bytes, at which to brake. */
export function brakingPoint(bytesTotal: number, bytesPerSecond: number): number {
  return Math.min(ROOM_BYTES + bytesPerSecond * REACTION_SECONDS, bytesTotal * SHARE_OF_MEMORY);
}

export function mustBrake(job: JobStats, bytesPerSecond: number): boolean {
  return job.bytesRemaining <= brakingPoint(job.bytesTotal, bytesPerSecond);
}

/** Until the braking point is reached at that rate, in ms. */
export function msToBrake(job: JobStats, bytesPerSecond: number): number {
  const distance = job.bytesRemaining - brakingPoint(job.bytesTotal, bytesPerSecond);
  return distance <= 0 ? 0 : (distance / Math.max(bytesPerSecond, 1)) * 1_000;
}

/** A look costs QEMU about 0.5 ms. */
const LOOK_MIN_MS = 20;
const LOOK_MAX_MS = 500;
/**
 * Zero pages cost no bandwidth, and nobody knows where they lie: the rest can collapse at the speed at which QEMU reads memory,
 * whatever the link's speed was until now.
 */
const ZERO_PAGES_BYTES_PER_SECOND = 4 * 1024 * MIB;

/**
 * When to look again: before the braking point can have been reached, even if only zero pages come. So a big guest is inspected
 * rarely for most of its copy, and a small one (512 MiB pass in 0.4 s) all the time.
 */
export function nextLookMs(job: JobStats, bytesPerSecond: number): number {
  const distance = job.bytesRemaining - brakingPoint(job.bytesTotal, bytesPerSecond);
  const fastest = Math.max(bytesPerSecond, ZERO_PAGES_BYTES_PER_SECOND);
  return Math.round(Math.min(Math.max((distance / fastest) * 1_000, LOOK_MIN_MS), LOOK_MAX_MS));
}

/** Before there are statistics, the copy may be anywhere. */
export const FIRST_LOOK_MS = LOOK_MIN_MS;

/** QEMU limits its speed in windows of 100 ms, so two looks this far apart show whether the brake has bitten. */
export const SETTLE_LOOK_MS = 200;
/** Still falling faster than this under the brake: zero pages are passing, which no limit slows. */
const SETTLED_BYTES_PER_SECOND = 8 * BRAKE_SPEED_MIBPS * MIB;

export function hasSettled(job: JobStats, before: JobStats): boolean {
  if (job.elapsedMs <= before.elapsedMs) return false;
  return shrinkRate({ ...job, bytesPerSecond: 0 }, before) <= SETTLED_BYTES_PER_SECOND;
}

/** How long the rest lasts under the brake, in whole seconds. Pages the guest dirties meanwhile only lengthen it. */
export function guaranteedHoldSeconds(bytesRemaining: number): number {
  return Math.floor(bytesRemaining / (BRAKE_SPEED_MIBPS * MIB));
}
