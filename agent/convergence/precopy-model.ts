import { MIB } from '../../common/units.ts';
import { MAX_THROTTLE, PERIOD_SECONDS, sleepMs, TOO_DIRTY, TOO_DIRTY_PASSES, writesLeft } from './auto-converge.ts';
import { firstLimitMs, mostLimitMs, nextLimitMs, STALLED_PASSES, STALLED_SHRINK } from './downtime-limit.ts';

/**
 * A model of QEMU's pre-copy, including the hold. The first pass sends the guest's memory. Each further pass sends the distinct pages
 * that the guest wrote during the pass before: the dirty rate times the duration, at most the working set. Pre-copy ends when a pass
 * can be sent within the downtime limit.
 *
 * Bytes, bytes per second, ms.
 */
export interface PrecopyInput {
  bandwidth: number;
  dirtyRate: number;
  workingSet: number;
  memory: number;
  resident: number;
  cpuUse: number;
  /** Until a manual cutover. Otherwise the cutover comes before the brake is reached, or soon after. */
  mayBeHeld: boolean;
  budgetMs: number;
  throttle?: { initialPercent: number; incrementPercent: number } | undefined;
}

export interface PrecopyEstimate {
  converges: boolean;
  /** Until the last pass begins; without convergence, until the stall is detected. */
  workMs: number;
  /** The last pass, sent while the guest is paused; without convergence, the bytes that would remain for it. */
  restBytes: number;
  bytes: number;
  /** The strongest throttle; 0: none. */
  throttlePercent: number;
  /** The duration of throttling, without the hold. */
  throttledMs: number;
}

/** The rate at which QEMU detects zero pages, which it does not send. */
const ZERO_PAGES_PER_SECOND = 4 * 1024 * MIB;
/** The assumed hold until a manual cutover: after this time a guest has usually written its whole working set. */
const HELD_MS = 60_000;
/** A bound for the loop; copies that converge need far fewer. */
const MOST_PASSES = 1_000;

/** The duration of the first pass, and for how long the guest writes meanwhile, which includes the hold. */
export function firstIteration({ bandwidth, memory, resident, mayBeHeld }: PrecopyInput): {
  workMs: number;
  writtenForMs: number;
} {
  const zeroMs = (Math.max(memory - resident, 0) / ZERO_PAGES_PER_SECOND) * 1_000;
  const sendMs = (resident / bandwidth) * 1_000;
  const workMs = zeroMs + sendMs;
  return { workMs, writtenForMs: workMs + (mayBeHeld ? HELD_MS : 0) };
}

export function estimatePrecopy(input: PrecopyInput): PrecopyEstimate {
  const { bandwidth, dirtyRate, workingSet, resident, cpuUse, budgetMs, throttle } = input;
  const first = firstIteration(input);
  let workMs = first.workMs;
  let bytes = resident;
  let throttlePercent = 0;
  let throttledMs = 0;
  let limitMs = firstLimitMs(budgetMs);
  let dirtied = Math.min(workingSet, (dirtyRate * first.writtenForMs) / 1_000);
  let sent = resident;
  let seconds = first.writtenForMs / 1_000;
  let before: number | undefined;
  let best = Number.POSITIVE_INFINITY;
  let stalled = 0;
  const period = { sent: 0, dirtied: 0, seconds: 0, tooDirty: 0 };

  for (let pass = 2; pass <= MOST_PASSES; pass++) {
    if (dirtied <= (bandwidth * limitMs) / 1_000) break;
    if (before !== undefined) limitMs = nextLimitMs(limitMs, dirtied / before, throttlePercent, budgetMs);
    if (dirtied < best * STALLED_SHRINK) {
      best = dirtied;
      stalled = 0;
    } else {
      stalled += 1;
    }
    period.sent += sent;
    period.dirtied += dirtied;
    period.seconds += seconds;
    if (period.seconds > PERIOD_SECONDS) {
      if (period.dirtied > period.sent * TOO_DIRTY) period.tooDirty += 1;
      period.sent = period.dirtied = period.seconds = 0;
      if (throttle !== undefined && period.tooDirty === TOO_DIRTY_PASSES && throttlePercent < MAX_THROTTLE) {
        period.tooDirty = stalled = 0;
        best = Number.POSITIVE_INFINITY;
        throttlePercent =
          throttlePercent === 0
            ? throttle.initialPercent
            : Math.min(throttlePercent + throttle.incrementPercent, MAX_THROTTLE);
      }
    }
    const mayRise = throttle !== undefined && throttlePercent < MAX_THROTTLE;
    if (stalled >= STALLED_PASSES && !mayRise && dirtied > (bandwidth * mostLimitMs(budgetMs)) / 1_000) {
      return { converges: false, workMs, restBytes: dirtied, bytes, throttlePercent, throttledMs };
    }
    before = dirtied;
    sent = dirtied;
    seconds = sent / bandwidth;
    // The synchronization of the dirty bitmap waits for a sleeping vCPU, which does not write meanwhile: half a sleep on average.
    const iterationMs = seconds * 1_000 + sleepMs(throttlePercent) / 2;
    workMs += iterationMs;
    bytes += sent;
    if (throttlePercent > 0) throttledMs += iterationMs;
    dirtied = Math.min(workingSet, dirtyRate * writesLeft(throttlePercent, cpuUse) * seconds);
  }
  const converges = dirtied <= (bandwidth * mostLimitMs(budgetMs)) / 1_000;
  return { converges, workMs, restBytes: dirtied, bytes: bytes + dirtied, throttlePercent, throttledMs };
}
