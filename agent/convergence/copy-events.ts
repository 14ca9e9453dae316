import { MIB } from '../../common/units.ts';
import type { Iteration } from './iterations.ts';

/** Something the guest or QEMU did on the way, worth an event of its own. */
export interface Notice {
  event: string;
  detail: Record<string, unknown>;
}

/** A dirty rate this many times as high or low as the last one told of is another one. */
const CHANGED = 1.5;
/** Below this, nothing depends on it: 10 % of a link of 1 Gbit/s. */
const QUIET_BYTES_PER_SECOND = 12 * MIB;

/** What to tell of the newest of the passes since the release; nothing twice, so it is to be asked once a pass. */
export function noticesOf(iterations: readonly Iteration[]): Notice[] {
  const [before, now] = iterations.slice(-2);
  if (before === undefined || now === undefined) return [];
  const { iteration, throttlePercent, dirtyBytesPerSecond } = now;
  const numbers = { iteration, throttlePercent, dirtyBytesPerSecond };
  if (throttlePercent !== before.throttlePercent) {
    return [{ event: 'guest throttled', detail: { ...numbers, throttlePercentBefore: before.throttlePercent } }];
  }
  const told = lastTold(iterations);
  if (told === undefined || !hasChanged(told.dirtyBytesPerSecond, dirtyBytesPerSecond)) return [];
  return [{ event: 'dirty rate changed', detail: { ...numbers, dirtyBytesPerSecondBefore: told.dirtyBytesPerSecond } }];
}

/**
 * The pass whose dirty rate is known to whoever reads the notices: the last one told of, else the first that says anything. That of
 * the held pass and of the one after it are averages over the hold, and the first after a change of the throttle is of before it.
 */
function lastTold(iterations: readonly Iteration[]): Iteration | undefined {
  let told: Iteration | undefined;
  for (const [index, pass] of iterations.slice(0, -1).entries()) {
    const before = iterations[index - 1];
    if (index < 2 || before === undefined) continue;
    if (pass.throttlePercent !== before.throttlePercent) told = undefined;
    else if (told === undefined || hasChanged(told.dirtyBytesPerSecond, pass.dirtyBytesPerSecond)) told = pass;
  }
  return told;
}

function hasChanged(before: number, now: number): boolean {
  const [low, high] = before < now ? [before, now] : [now, before];
  return high > Math.max(low, QUIET_BYTES_PER_SECOND / CHANGED) * CHANGED;
}
