import { median } from '../../common/statistics.ts';
import { PROBE_INTERVAL_MS, type ProbeResult } from '../host/probe.ts';

/**
 * The time in which the guest switched from the source to the destination, in ms since the epoch: at `from` it did not run on the
 * destination yet, at `to` it did.
 */
export interface Switch {
  from: number;
  to: number;
}

export type BlackoutMeasurement =
  | { observed: true; blackoutMs: number; intervalMs: number; elsewhereMs: number; sent: number; answered: number }
  | { observed: false; why: string };

/**
 * The blackout around the switch: the longest gap between two answers that touches the switch, less the usual interval. The longest other
 * gap is `elsewhereMs`, since it has another cause. Without an answer both before and after the switch there is no measurement.
 */
export function measureBlackout({ answers, sent, trouble }: ProbeResult, { from, to }: Switch): BlackoutMeasurement {
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

const not = (why: string): BlackoutMeasurement => ({ observed: false, why });
const ms = (value: number): string => `${Math.round(value)} ms`;
/** `ping` prints microseconds; the measurement is not exact to more than a tenth of a millisecond. */
const tenths = (value: number): number => Math.round(value * 10) / 10;
