import { median } from '../../common/statistics.ts';
import { PROBE_INTERVAL_MS, type Sightings } from '../host/probe.ts';

/**
 * The guest went from running on the source to running on the destination somewhere in here, in ms since the epoch: it surely did
 * not run yet on the destination at `from`, and surely did at `to`.
 */
export interface Switch {
  from: number;
  to: number;
}

export type Seen =
  | { observed: true; blackoutMs: number; intervalMs: number; elsewhereMs: number; sent: number; answered: number }
  | { observed: false; why: string };

/**
 * How long the guest was out of sight around the switch. Only gaps that touch the switch count, since a blackout can't be
 * elsewhere; losses anywhere else are told apart as `elsewhereMs`. Where the answers do not reach from before the switch to after
 * it, nothing is told.
 */
export function evaluate({ answers, sent, trouble }: Sightings, { from, to }: Switch): Seen {
  const [first, last] = [answers[0], answers.at(-1)];
  if (first === undefined || last === undefined) {
    return not(
      trouble ?? (sent === 0 ? 'the probe had no time to ask before the guest switched' : 'it does not answer'),
    );
  }
  if (first >= from) return not('its first answer came only when the guest was being switched');
  if (last < to) {
    const lost = `its last answer came ${ms(Math.max(0, from - last))} before the switch`;
    return not(last >= from ? 'no answer came after the switch' : `${lost}, and none after it`);
  }
  const gaps = answers.slice(1).map((at, index) => ({ begin: answers[index]!, ms: at - answers[index]! }));
  const touches = ({ begin, ms: length }: { begin: number; ms: number }) => begin <= to && begin + length >= from;
  const elsewhere = gaps.filter((gap) => !touches(gap)).map((gap) => gap.ms);
  const interval = median(elsewhere) ?? PROBE_INTERVAL_MS;
  const longest = (lengths: readonly number[]) => tenths(Math.max(0, Math.max(0, ...lengths) - interval));
  return {
    observed: true,
    blackoutMs: longest(gaps.filter(touches).map((gap) => gap.ms)),
    intervalMs: tenths(interval),
    elsewhereMs: longest(elsewhere),
    sent,
    answered: answers.length,
  };
}

const not = (why: string): Seen => ({ observed: false, why });
const ms = (value: number): string => `${Math.round(value)} ms`;
/** `ping` tells microseconds; a tenth of a millisecond is more than any of this is exact to. */
const tenths = (value: number): number => Math.round(value * 10) / 10;
