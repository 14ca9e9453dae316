import type { Clock } from '../../../common/clock.ts';

/** Node's timers fire at once when asked for more than this many ms; a state may wait for a year. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves at `at` (ms since the epoch), or when the signal aborts. */
export async function sleepUntil(clock: Clock, at: number, signal: AbortSignal): Promise<void> {
  for (let left = at - clock.now(); left > 0 && !signal.aborted; left = at - clock.now()) {
    await clock.sleep(Math.min(left, LONGEST_TIMER_MS), signal);
  }
}
