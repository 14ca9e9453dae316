import { MIB } from '../../common/units.ts';
import type { Iteration } from './iterations.ts';

/** Something the guest or QEMU did during the copy that an operator should see. */
export interface CopyEvent {
  event: string;
  detail: Record<string, unknown>;
}

/** A dirty rate this many times as high or as low as the one reported last is reported again. */
const CHANGED = 1.5;
/** Below this, nothing depends on it: 10 % of a link of 1 Gbit/s. */
const QUIET_BYTES_PER_SECOND = 12 * MIB;

/** What to report of the newest of the passes since the release. To be called once a pass: nothing is reported twice. */
export function copyEventsOf(iterations: readonly Iteration[]): CopyEvent[] {
  const [before, now] = iterations.slice(-2);
  if (before === undefined || now === undefined) return [];
  const { iteration, throttlePercent, dirtyBytesPerSecond } = now;
  const numbers = { iteration, throttlePercent, dirtyBytesPerSecond };
  if (throttlePercent !== before.throttlePercent) {
    return [{ event: 'guest throttled', detail: { ...numbers, throttlePercentBefore: before.throttlePercent } }];
  }
  const reported = lastReported(iterations);
  if (reported === undefined || !hasChanged(reported.dirtyBytesPerSecond, dirtyBytesPerSecond)) return [];
  return [
    { event: 'dirty rate changed', detail: { ...numbers, dirtyBytesPerSecondBefore: reported.dirtyBytesPerSecond } },
  ];
}

/**
 * The pass whose dirty rate the reader of the events knows: the one reported last, else the first with a meaning. The rates of the held
 * pass and of the one after it are averages over the hold, and the first after a change of the throttle is from before the change.
 */
function lastReported(iterations: readonly Iteration[]): Iteration | undefined {
  let reported: Iteration | undefined;
  for (const [index, pass] of iterations.slice(0, -1).entries()) {
    const before = iterations[index - 1];
    if (index < 2 || before === undefined) continue;
    if (pass.throttlePercent !== before.throttlePercent) reported = undefined;
    else if (reported === undefined || hasChanged(reported.dirtyBytesPerSecond, pass.dirtyBytesPerSecond))
      reported = pass;
  }
  return reported;
}

function hasChanged(before: number, now: number): boolean {
  const [low, high] = before < now ? [before, now] : [now, before];
  return high > Math.max(low, QUIET_BYTES_PER_SECOND / CHANGED) * CHANGED;
}
