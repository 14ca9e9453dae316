/**
 * The downtime limits for QEMU, derived from the policy's blackout budget. The budget is what users may feel; QEMU's limit covers the
 * last pass alone. QEMU stops the guest as soon as what is left can be sent within the limit, so the first limit is small, and it
 * rises only while passes do not shrink by themselves: the guest stands still for as long as it must, not for as long as it may.
 */

/** Next to what stopping and starting a guest costs anyway, less would not be noticed. */
const FIRST_LIMIT_MS = 20;
/**
 * What the blackout has besides the last pass: QEMU's stop, device state, the commit, the start, the first packet. Measured in the
 * lab: 75-90 ms, and now and then more.
 */
const AROUND_MS = 120;

/**
 * The largest limit with which the blackout still keeps the budget. At least half of the budget, since AROUND_MS is a careful value:
 * a small budget would otherwise leave no time for the last pass, and no copy would ever end.
 */
export const mostLimitMs = (budgetMs: number): number => Math.ceil(Math.max(budgetMs - AROUND_MS, budgetMs / 2));

export const firstLimitMs = (budgetMs: number): number => Math.min(FIRST_LIMIT_MS, mostLimitMs(budgetMs));

/**
 * A pass larger than this part of the one before is slow to shrink. With smaller ones, going on to the first limit costs less
 * than a second for every 200 ms of blackout it saves; with larger ones it takes longer and longer, and at 1 it never ends.
 */
export const SLOW_SHRINK = 0.8;

/** A guest slowed by more than this (percent) is better off with a longer blackout than with waiting for a shorter one. */
export const FELT_THROTTLE = 50;

/** The limit after a pass that was `shrink` times as large as the one before, with the guest throttled as it is. */
export function nextLimitMs(limitMs: number, shrink: number, throttlePercent: number, budgetMs: number): number {
  const most = mostLimitMs(budgetMs);
  if (limitMs >= most) return limitMs;
  if (throttlePercent >= FELT_THROTTLE) return most;
  return shrink <= SLOW_SHRINK ? limitMs : Math.min(limitMs * 2, most);
}

/** A pass that is not smaller than this part of the smallest so far is no net progress. */
export const STALLED_SHRINK = 0.95;
/** So many of them in a row are a stall. */
export const STALLED_PASSES = 2;
