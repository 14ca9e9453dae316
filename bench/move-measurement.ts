import type { DomainEvent } from '../lab/clients/domain-events.ts';

/** What the instruments recorded during a move, whatever made it. Times are ms since the epoch. */
export interface Recordings {
  /** When answers to pings came. */
  pings: readonly number[];
  /** When answers to the user's requests came. */
  answers: readonly number[];
  source: readonly DomainEvent[];
  destination: readonly DomainEvent[];
  /** The time at rest before the move. */
  calm: { from: number; until: number };
  /** The end of the move, whatever its outcome. */
  until: number;
}

/** A move as measured from outside. */
export interface MoveMeasurement {
  /** From the start of the destination's QEMU until the guest ran there with all of its memory. Absent when the move did not get so far. */
  totalMs?: number;
  /** The longest gap between answers to pings around the switch, less `usualGapMs`. */
  blackoutMs?: number;
  /** The longest such gap in the seconds before the switch, which the throttle or the machine causes. */
  usualGapMs?: number;
  /** The longest gap between answers to pings at any time: a throttled guest has long gaps apart from the switch. */
  longestGapMs: number;
  /** QEMU's figure, from the source. */
  downtimeMs?: number;
  /** Requests answered per second, at rest and during the copy. */
  requests: { before: number; during: number };
}

/** The switch itself and what follows from it: the announcement in the network, the first answers after. */
const BEFORE_SWITCH_MS = 20;
const AFTER_SWITCH_MS = 1_000;
/** The time before the switch in which `usualGapMs` is measured. */
const USUAL_MS = 5_000;

export function measureMove({ pings, answers, source, destination, calm, until }: Recordings): MoveMeasurement {
  const begun = destination.find(({ kind, what }) => kind === 'lifecycle' && what === 'Started Migrated')?.at;
  const suspended = source.find(({ kind, what }) => kind === 'lifecycle' && what.startsWith('Suspended'))?.at;
  const resumptions = destination.filter(({ kind, what }) => kind === 'lifecycle' && what.startsWith('Resumed'));
  const resumed = resumptions[0]?.at;
  // A post-copy reports first that the guest runs, and then that all of its memory has arrived.
  const whole = resumptions.find(({ what }) => what === 'Resumed Migrated')?.at;
  const downtime = source.find(({ kind }) => kind === 'job-completed')?.what.match(/^\s*downtime: (\d+)$/m)?.[1];
  const copied = begun !== undefined && whole !== undefined;
  const switched = suspended !== undefined && resumed !== undefined;
  return {
    ...(copied && { totalMs: whole - begun }),
    ...(switched && blackout(pings, suspended, resumed)),
    ...(downtime !== undefined && { downtimeMs: Number(downtime) }),
    longestGapMs: longestGap(pings, calm.until, until),
    requests: {
      before: perSecond(answers, calm.from, calm.until),
      during: perSecond(answers, begun ?? calm.until, whole ?? until),
    },
  };
}

function blackout(pings: readonly number[], suspended: number, resumed: number) {
  const atSwitch = longestGap(pings, suspended - BEFORE_SWITCH_MS, resumed + AFTER_SWITCH_MS);
  const usualGapMs = longestGap(pings, suspended - USUAL_MS, suspended - BEFORE_SWITCH_MS, 'ended');
  return { blackoutMs: Math.max(0, atSwitch - usualGapMs), usualGapMs };
}

/** The longest gap between consecutive answers, of those that touch the span, or that `ended` in it. */
function longestGap(times: readonly number[], from: number, until: number, which: 'touching' | 'ended' = 'touching') {
  return times.reduce((longest, at, index) => {
    const previous = times[index - 1];
    if (previous === undefined) return longest;
    const counts = which === 'ended' ? at > from && at <= until : at > from && previous < until;
    return counts ? Math.max(longest, at - previous) : longest;
  }, 0);
}

function perSecond(times: readonly number[], from: number, until: number): number {
  if (until <= from) return 0;
  return times.filter((at) => at >= from && at < until).length / ((until - from) / 1000);
}
