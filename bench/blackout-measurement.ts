import type { DomainEvent } from '../lab/clients/domain-events.ts';

/** What was noted while a guest moved, by instruments that know nothing of who moves it. Times are ms since the epoch. */
export interface Notes {
  /** When answers to pings came. */
  pings: readonly number[];
  /** When answers to the user's requests came. */
  answers: readonly number[];
  source: readonly DomainEvent[];
  destination: readonly DomainEvent[];
  /** From when the guest was looked at, at rest, before anybody was asked to move it; and when that ended. */
  calm: { from: number; until: number };
  /** When it was over, moved or not. */
  until: number;
}

/** What a move was like, as seen from outside. */
export interface Sight {
  /** From the start of the destination's QEMU until the guest ran there with all of its memory. Absent: it did not get so far. */
  totalMs?: number;
  /** The longest gap between answers to pings around the switch, less `usualGapMs`. */
  blackoutMs?: number;
  /** The longest in the seconds before the switch: as much is the throttle's or the machine's doing. */
  usualGapMs?: number;
  /** The longest gap between answers to pings at any time, for a throttled guest has long ones apart from the switch. */
  longestGapMs: number;
  /** QEMU's own figure, from the source. */
  downtimeMs?: number;
  /** Requests answered a second, at rest and while memory was copied. */
  requests: { before: number; during: number };
}

/** The switch itself and what follows from it: the announcement in the network, the first answers after. */
const BEFORE_SWITCH_MS = 20;
const AFTER_SWITCH_MS = 1_000;
/** How a throttled guest answers is seen from this long before the switch. */
const USUAL_MS = 5_000;

export function sightOf({ pings, answers, source, destination, calm, until }: Notes): Sight {
  const begun = destination.find(({ kind, what }) => kind === 'lifecycle' && what === 'Started Migrated')?.at;
  const suspended = source.find(({ kind, what }) => kind === 'lifecycle' && what.startsWith('Suspended'))?.at;
  const resumptions = destination.filter(({ kind, what }) => kind === 'lifecycle' && what.startsWith('Resumed'));
  const resumed = resumptions[0]?.at;
  // A post-copy says first that the guest runs, and then that all of its memory has come.
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

/** Between two answers that followed each other, of those that touch the span, or `ended` in it. */
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
