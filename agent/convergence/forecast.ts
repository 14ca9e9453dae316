import { MIB, mib, seconds } from '../../common/units.ts';
import type { Forecast, Measurements, Plan, Range } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import { forecastStorage } from '../migrated-storage/storage-forecast.ts';
import { firstThrottle, sleepMs, TOO_DIRTY, writesLeft } from './auto-converge.ts';
import { type Copying, type Course, firstIteration, precopy } from './precopy-model.ts';

/**
 * What a move will cost, and how to make it, from what was measured and what the policy allows. Every way there is is reckoned
 * through; the gentlest that keeps the policy is taken. Ranges come from reckoning the same way again with what was measured
 * wrong by as much as it usually is.
 */

/** From Perform's call to the first byte, and from the last to Finish's answer, as seen on the lab's hosts. */
const OVERHEAD_MS = 200;
/** What the guest is out of reach for besides the last pass: QEMU's stop, device state, commit and start, and its first answer. */
const SWITCH_MS = 100;
/** Post-copy switches with nothing sent but the list of what is missing, and then fetches what it needs to answer. */
const POST_COPY_SWITCH_MS = 190;

/** How far what was measured is from what the copy meets, nine times in ten. */
const LINK_ERROR = 0.12;
/** A link known from an earlier migration: shared with others by now, or no longer. */
const KNOWN_LINK_ERROR = 0.2;
const DIRTY_ERROR = 0.25;
/**
 * Backed memory may hold zeros all the same, and those are not sent: 14-17 % of it on the lab's guests, which have just booted, and
 * less on guests long in use. In between, and as wrong as that is either way.
 */
const NOT_ZERO = 0.92;
const NOT_ZERO_ERROR = 0.08;
/** What no measurement explains: the machines' own noise. */
const TIME_NOISE = { part: 0.08, ms: 400 };
const BLACKOUT_NOISE = { below: { part: 0.7, mostMs: 130 }, aboveMs: 120 };
/** A blackout within the budget may seem longer: it is measured by pings, to within two of their intervals and the time of an answer. */
const SEEN_MS = 30;

/**
 * One, on links of any speed. With several (multifd), tried with QEMU 10.0.2, the brake bit only in the second pass; a hold there has
 * auto-converge take pass after pass for too dirty and throttle the guest while it waits. And post-copy takes only one.
 */
const CONNECTIONS = 1;

interface Way {
  plan: Plan;
  course: Course;
  convergence: Forecast['convergence'];
  totalMs: number;
  blackoutMs: number;
  bytes: number;
}

export function forecast(measured: Measurements, policy: Policy): Forecast {
  const copying = copyingOf(measured, policy);
  const { disks } = measured;
  const plan = { ...withSwitchRate(choosePlan(copying, policy), copying, measured), ...(disks && { disks }) };
  const storage = forecastStorage(measured, policy);
  const way = wayOf(plan, copying, policy);
  const around = neighbours(copying, measured).map((each) => wayOf(plan, each, policy));
  const range = (of: (way: Way) => number) => spread(of(way), around.map(of));
  const total = sum(
    range((each) => each.totalMs),
    storage?.ms,
  );
  const blackout = range((each) => each.blackoutMs);
  // Whatever was measured wrong: a copy that can't keep its budget is given up, or goes over to post-copy.
  const most =
    way.course.converges && policy.onNonConvergence !== 'exceed'
      ? policy.blackoutBudgetMs + SEEN_MS
      : Number.POSITIVE_INFINITY;
  return {
    totalMs: {
      expected: total.expected,
      low: Math.max(0, Math.round(total.low * (1 - TIME_NOISE.part) - TIME_NOISE.ms)),
      high: Math.round(total.high * (1 + TIME_NOISE.part) + TIME_NOISE.ms),
    },
    blackoutMs: {
      expected: blackout.expected,
      low: Math.round(blackout.low - Math.min(blackout.low * BLACKOUT_NOISE.below.part, BLACKOUT_NOISE.below.mostMs)),
      high: Math.max(Math.min(blackout.high + BLACKOUT_NOISE.aboveMs, most), blackout.expected),
    },
    bytes: sum(
      range((each) => each.bytes),
      storage?.bytes,
    ),
    ...(storage && { storage }),
    convergence: convergenceOf(copying, policy),
    plan,
    why: whyOf(way, copying, policy),
  };
}

function copyingOf(measured: Measurements, policy: Policy): Copying {
  const { bandwidthMiBps, blackoutBudgetMs } = policy;
  const limit = bandwidthMiBps > 0 ? bandwidthMiBps * MIB : Number.POSITIVE_INFINITY;
  return {
    bandwidth: Math.max(Math.min(measured.linkBytesPerSecond, limit), 1),
    dirtyRate: measured.dirtyBytesPerSecond,
    workingSet: Math.max(measured.workingSetBytes, measured.dirtyBytesPerSecond),
    memory: measured.memoryBytes,
    resident: Math.min(measured.residentBytes, measured.memoryBytes) * NOT_ZERO,
    cpuUse: measured.cpuUse,
    mayBeHeld: mayBeHeldLong(policy),
    budgetMs: blackoutBudgetMs,
  };
}

/**
 * A throttled guest makes QEMU's own estimate of the bandwidth useless: its look at what was dirtied waits for a vCPU that sleeps, and
 * counts as time nothing was sent in. On the lab, with passes of 9 MiB and a sleep of 1 s, it said 9 MiB/s of a link of 60, and
 * passes that would have fitted into the limit went round and round. So it is told what the link surely carries.
 */
function withSwitchRate(
  plan: Plan,
  { bandwidth }: Copying,
  { linkSource, supportsAvailSwitchoverBandwidth }: Measurements,
): Plan {
  if (plan.throttle === undefined || !supportsAvailSwitchoverBandwidth) return plan;
  return {
    ...plan,
    availSwitchoverBandwidthMiBps: Math.max(1, Math.floor((bandwidth * (1 - linkErrorOf(linkSource))) / MIB)),
  };
}

/** The gentlest way that keeps the policy; where none does, the plain one, whose forecast then says what is in the way. */
function choosePlan(copying: Copying, policy: Policy): Plan {
  const common = { connections: CONNECTIONS };
  const postCopyAllowed = policy.onNonConvergence === 'postcopy';
  const plain: Plan = {
    method: 'plain',
    ...(policy.autoConverge && !postCopyAllowed && !mayBeHeldLong(policy) && { throttle: standbyThrottle(copying) }),
    postCopyAllowed,
    ...common,
  };
  if (keeps({ ...plain, throttle: undefined }, copying, policy)) return plain;
  if (postCopyAllowed) return { method: 'post-copy', postCopyAllowed, ...common };
  if (policy.autoConverge) {
    const slowed: Plan = { method: 'auto-converge', throttle: computedThrottle(copying), postCopyAllowed, ...common };
    if (keeps(slowed, copying, policy)) return slowed;
  }
  return { ...plain, ...(policy.autoConverge && { throttle: computedThrottle(copying) }) };
}

/**
 * Held beyond its first pass, a copy looks to QEMU as if the guest dirtied far more than is sent, and auto-converge throttles it for
 * that. So where nobody knows how long it will be held, throttling is made possible only for a guest that needs it.
 */
const mayBeHeldLong = ({ cutover }: Policy): boolean => cutover === 'manual';

function keeps(plan: Plan, copying: Copying, policy: Policy): boolean {
  const course = courseOf(plan, copying);
  return course.converges && course.workMs + OVERHEAD_MS <= policy.deadlineSeconds * 1_000;
}

/**
 * A throttle that is only there in case the guest changes its ways. QEMU throttles whenever two passes dirtied more than half of
 * what they sent, needed or not; so for a guest that comes near that by itself, the first throttle is one that nobody feels, and
 * a second, strong one follows only if the passes stay like that.
 */
function standbyThrottle({ dirtyRate, bandwidth }: Copying): NonNullable<Plan['throttle']> {
  return dirtyRate < bandwidth * TOO_DIRTY * 0.8
    ? { initialPercent: 80, incrementPercent: 15 }
    : { initialPercent: 1, incrementPercent: 30 };
}

function computedThrottle({ dirtyRate, bandwidth, cpuUse }: Copying): NonNullable<Plan['throttle']> {
  const initialPercent = firstThrottle(dirtyRate, bandwidth, cpuUse);
  // Should it not do: the guest uses more of its CPU than was measured, or writes more.
  return { initialPercent, incrementPercent: Math.max(1, Math.ceil((99 - initialPercent) / 2)) };
}

function courseOf({ throttle }: Plan, copying: Copying): Course {
  return precopy({ ...copying, throttle });
}

function wayOf(plan: Plan, copying: Copying, policy: Policy): Way {
  const { bandwidth } = copying;
  const convergence = convergenceOf(copying, policy);
  const course = courseOf(plan, copying);
  if (plan.method === 'post-copy') {
    const { workMs, writtenBytes, firstBytes } = postCopy(copying);
    return {
      plan,
      course,
      convergence,
      totalMs: workMs + OVERHEAD_MS,
      blackoutMs: POST_COPY_SWITCH_MS,
      bytes: firstBytes + writtenBytes,
    };
  }
  const restMs = (course.restBytes / bandwidth) * 1_000;
  return {
    plan,
    course,
    convergence,
    totalMs: course.workMs + restMs + OVERHEAD_MS,
    blackoutMs: !course.converges && plan.postCopyAllowed ? POST_COPY_SWITCH_MS : restMs + SWITCH_MS,
    bytes: course.bytes,
  };
}

/** All of the first pass, the switch, and then what the guest had written meanwhile, at the speed of the link. */
function postCopy(copying: Copying): { workMs: number; writtenBytes: number; firstBytes: number } {
  const { bandwidth, dirtyRate, workingSet, resident } = copying;
  const first = firstIteration(copying);
  const writtenBytes = Math.min(workingSet, (dirtyRate * first.writtenForMs) / 1_000);
  return { workMs: first.workMs + (writtenBytes / bandwidth) * 1_000, writtenBytes, firstBytes: resident };
}

/** What it takes, whatever the policy allows. */
function convergenceOf(copying: Copying, policy: Policy): Forecast['convergence'] {
  const base = { connections: CONNECTIONS, postCopyAllowed: false };
  if (keeps({ method: 'plain', ...base }, copying, policy)) return 'likely';
  if (keeps({ method: 'auto-converge', throttle: computedThrottle(copying), ...base }, copying, policy)) {
    return 'only-slowed';
  }
  return postCopy(copying).workMs + OVERHEAD_MS <= policy.deadlineSeconds * 1_000 ? 'only-post-copy' : 'not';
}

const linkErrorOf = (source: Measurements['linkSource']): number =>
  source === 'known' ? KNOWN_LINK_ERROR : LINK_ERROR;

/** The corners of what may be true in place of what was measured. */
function neighbours(copying: Copying, { linkSource }: Measurements): Copying[] {
  const factors = (error: number) => [1 - error, 1, 1 + error];
  return factors(linkErrorOf(linkSource)).flatMap((link) =>
    factors(DIRTY_ERROR).map((dirty) => ({
      ...copying,
      bandwidth: copying.bandwidth * link,
      dirtyRate: copying.dirtyRate * dirty,
      // What makes a copy longer comes together, for a range that holds nine in ten.
      resident: copying.resident * (link < 1 ? 1 + NOT_ZERO_ERROR : link > 1 ? 1 - NOT_ZERO_ERROR : 1),
      workingSet: copying.workingSet * Math.sqrt(dirty),
    })),
  );
}

const sum = (one: Range, other: Range = { expected: 0, low: 0, high: 0 }): Range => ({
  expected: one.expected + other.expected,
  low: one.low + other.low,
  high: one.high + other.high,
});

function spread(expected: number, around: number[]): Range {
  return {
    expected: Math.round(expected),
    low: Math.round(Math.min(expected, ...around)),
    high: Math.round(Math.max(expected, ...around)),
  };
}

function whyOf({ plan, course, blackoutMs, totalMs }: Way, copying: Copying, policy: Policy): string {
  const { dirtyRate, bandwidth, cpuUse, resident, workingSet } = copying;
  const share = Math.round((dirtyRate / bandwidth) * 100);
  const seen = `the guest writes ${mib(dirtyRate)}/s (at most ${mib(workingSet)}) and the link carries ${mib(bandwidth)}/s (${share} %)`;
  switch (plan.method) {
    case 'post-copy':
      return `${seen}: passes do not shrink enough, so the guest switches after the first pass of ${mib(resident)} and fetches the rest, in about ${seconds(totalMs)}`;
    case 'auto-converge': {
      const { initialPercent } = plan.throttle!;
      const left = Math.round(writesLeft(initialPercent, cpuUse) * share);
      return `${seen}: passes shrink only with the guest slowed; it uses ${Math.round(cpuUse * 100)} % of its CPU, so a throttle of ${initialPercent} % brings its writes to ${left} % of the link, with a vCPU at rest for ${Math.round(sleepMs(initialPercent))} ms at a time, for about ${seconds(course.throttledMs)}`;
    }
    case 'plain': {
      if (course.converges && totalMs <= policy.deadlineSeconds * 1_000) {
        return `${seen}: the copy converges by itself in about ${seconds(totalMs)}, and the last ${mib(course.restBytes)} fit into the blackout budget`;
      }
      if (course.converges) return `${seen}: the copy converges, but only after ${seconds(totalMs)}`;
      const rest = `${seen}: passes stay at ${mib(course.restBytes)}, which takes ${Math.round(blackoutMs)} ms with the guest standing still`;
      return policy.onNonConvergence === 'exceed' ? `${rest}; the policy allows that` : rest;
    }
  }
}
