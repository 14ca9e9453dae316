import { MIB } from '../../common/units.ts';
import { MAX_THROTTLE, PERIOD_SECONDS, sleepMs, TOO_DIRTY, TOO_DIRTY_PASSES, writesLeft } from './auto-converge.ts';
import { firstLimitMs, mostLimitMs, nextLimitMs, STALLED_PASSES, STALLED_SHRINK } from './downtime-limit.ts';

/**
 * QEMU's pre-copy as a sum, with our hold in it. The first pass sends the guest's memory; each pass after it sends what the
 * guest wrote during the one before, as distinct pages: its rate times the time, at most its working set. It ends when a pass
 * can be sent within the downtime limit.
 *
 * Bytes, bytes per second, ms.
 */
export interface Copying {
  bandwidth: number;
  dirtyRate: number;
  workingSet: number;
  memory: number;
  resident: number;
  cpuUse: number;
  /** Until somebody says the word. Otherwise the word comes before the brake is reached, or soon after. */
  mayBeHeld: boolean;
  budgetMs: number;
  throttle?: { initialPercent: number; incrementPercent: number } | undefined;
}

export interface Course {
  converges: boolean;
  /** Until the last pass begins; when it does not converge, until that is seen. */
  workMs: number;
  /** The last pass, sent while the guest stands still; when it does not converge, what would have to be. */
  restBytes: number;
  bytes: number;
  /** As strong as the guest was throttled; 0: not at all. */
  throttlePercent: number;
  /** For how long, the hold not counted. */
  throttledMs: number;
}

/** At which QEMU finds that pages are zero, with no need to send them. */
const ZERO_PAGES_PER_SECOND = 4 * 1024 * MIB;
/** A hold until somebody says the word. The guest writes meanwhile; with this time it has usually written all it ever writes. */
const HELD_MS = 60_000;
/** Beyond, no copy of a machine this is for gets any smaller. */
const MOST_PASSES = 1_000;

/** The first pass with its hold, if any: how long it works, and how long the guest writes meanwhile. */
export function firstIteration({ bandwidth, memory, resident, mayBeHeld }: Copying): {
  workMs: number;
  writtenForMs: number;
} {
  const zeroMs = (Math.max(memory - resident, 0) / ZERO_PAGES_PER_SECOND) * 1_000;
  const sendMs = (resident / bandwidth) * 1_000;
  const workMs = zeroMs + sendMs;
  return { workMs, writtenForMs: workMs + (mayBeHeld ? HELD_MS : 0) };
}

export function precopy(copying: Copying): Course {
  const { bandwidth, dirtyRate, workingSet, resident, cpuUse, budgetMs, throttle } = copying;
  const first = firstIteration(copying);
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
    // QEMU's look at what was dirtied waits for a vCPU that sleeps, and so does not write: half a sleep, on average.
    const iterationMs = seconds * 1_000 + sleepMs(throttlePercent) / 2;
    workMs += iterationMs;
    bytes += sent;
    if (throttlePercent > 0) throttledMs += iterationMs;
    dirtied = Math.min(workingSet, dirtyRate * writesLeft(throttlePercent, cpuUse) * seconds);
  }
  const converges = dirtied <= (bandwidth * mostLimitMs(budgetMs)) / 1_000;
  return { converges, workMs, restBytes: dirtied, bytes: bytes + dirtied, throttlePercent, throttledMs };
}
