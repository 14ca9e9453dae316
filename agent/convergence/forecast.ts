import { MIB, mib, seconds } from '../../common/units.ts';
import type { Forecast, Measurements, Plan, Range } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import { forecastStorage } from '../migrated-storage/storage-forecast.ts';
import { firstThrottle, sleepMs, TOO_DIRTY, writesLeft } from './auto-converge.ts';
import { estimatePrecopy, firstIteration, type PrecopyEstimate, type PrecopyInput } from './precopy-model.ts';

/**
 * The cost of a migration, and the plan for it, from the measurements and the policy. Every plan is computed; the one that disturbs the
 * guest least and keeps the policy is chosen. Ranges come from computing the same plan again with each measurement changed by its
 * usual error.
 */

/** From the call of Perform to the first byte, and from the last byte to the answer to Finish. Measured on the lab's hosts. */
const OVERHEAD_MS = 200;
/** The blackout beside the last pass: QEMU's stop, device state, commit and start, and the guest's first answer. */
const SWITCH_MS = 100;
/** Post-copy switches after it has sent the list of missing pages, and then fetches the pages that it needs to answer. */
const POST_COPY_SWITCH_MS = 190;

/** The error of the measured bandwidth, nine times in ten. */
const LINK_ERROR = 0.12;
/** Of a bandwidth known from an earlier migration: other transfers may have begun or ended since. */
const KNOWN_LINK_ERROR = 0.2;
const DIRTY_ERROR = 0.25;
/**
 * The part of the resident memory that is not zero; zero pages are not sent. On the lab's guests, which had just booted, 14-17 % were
 * zero; on guests long in use it is less. The value lies between the two, and the error covers both.
 */
const NOT_ZERO = 0.92;
const NOT_ZERO_ERROR = 0.08;
/** The variation between runs with the same measurements. */
const TIME_NOISE = { part: 0.08, ms: 400 };
const BLACKOUT_NOISE = { below: { part: 0.7, mostMs: 130 }, aboveMs: 120 };
/** The error of a measured blackout: two intervals of the pings, and the time of an answer. */
const SEEN_MS = 30;

/**
 * One, on links of any speed. With several (multifd, tried with QEMU 10.0.2) the brake takes effect only in the second pass; during a
 * hold there, auto-converge counts pass after pass as too dirty and throttles the guest. Post-copy supports only one connection.
 */
const CONNECTIONS = 1;

interface PlanEstimate {
  plan: Plan;
  estimate: PrecopyEstimate;
  convergence: Forecast['convergence'];
  totalMs: number;
  blackoutMs: number;
  bytes: number;
}

export function forecast(measured: Measurements, policy: Policy): Forecast {
  const input = inputOf(measured, policy);
  const { disks } = measured;
  const plan = { ...withAvailSwitchoverBandwidth(choosePlan(input, policy), input, measured), ...(disks && { disks }) };
  const storage = forecastStorage(measured, policy);
  const chosen = estimatePlan(plan, input, policy);
  const around = neighbours(input, measured).map((each) => estimatePlan(plan, each, policy));
  const range = (of: (each: PlanEstimate) => number) => spread(of(chosen), around.map(of));
  const total = sum(
    range((each) => each.totalMs),
    storage?.ms,
  );
  const blackout = range((each) => each.blackoutMs);
  // Whatever the error of a measurement: a copy that cannot keep the budget is aborted, or switches to post-copy.
  const most =
    chosen.estimate.converges && policy.onNonConvergence !== 'exceed'
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
    convergence: convergenceOf(input, policy),
    plan,
    why: whyOf(chosen, input, policy),
  };
}

function inputOf(measured: Measurements, policy: Policy): PrecopyInput {
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
 * QEMU's own estimate of the bandwidth is wrong while the guest is throttled: the synchronization of the dirty bitmap waits for a
 * sleeping vCPU, and that wait counts as time in which nothing was sent. In the lab, with passes of 9 MiB and a sleep of 1 s, QEMU
 * estimated 9 MiB/s on a link of 60 MiB/s, and passes that fitted into the limit were sent again and again. So QEMU gets the
 * bandwidth that the link provides for certain.
 */
function withAvailSwitchoverBandwidth(
  plan: Plan,
  { bandwidth }: PrecopyInput,
  { linkSource, supportsAvailSwitchoverBandwidth }: Measurements,
): Plan {
  if (plan.throttle === undefined || !supportsAvailSwitchoverBandwidth) return plan;
  return {
    ...plan,
    availSwitchoverBandwidthMiBps: Math.max(1, Math.floor((bandwidth * (1 - linkErrorOf(linkSource))) / MIB)),
  };
}

/** The plan that disturbs the guest least and keeps the policy; where no plan does, the plain one, whose forecast names the reason. */
function choosePlan(input: PrecopyInput, policy: Policy): Plan {
  const common = { connections: CONNECTIONS };
  const postCopyAllowed = policy.onNonConvergence === 'postcopy';
  const plain: Plan = {
    method: 'plain',
    ...(policy.autoConverge && !postCopyAllowed && !mayBeHeldLong(policy) && { throttle: standbyThrottle(input) }),
    postCopyAllowed,
    ...common,
  };
  if (keepsPolicy({ ...plain, throttle: undefined }, input, policy)) return plain;
  if (postCopyAllowed) return { method: 'post-copy', postCopyAllowed, ...common };
  if (policy.autoConverge) {
    const slowed: Plan = { method: 'auto-converge', throttle: computedThrottle(input), postCopyAllowed, ...common };
    if (keepsPolicy(slowed, input, policy)) return slowed;
  }
  return { ...plain, ...(policy.autoConverge && { throttle: computedThrottle(input) }) };
}

/**
 * While a copy is held beyond its first pass, the guest dirties far more than QEMU sends, so auto-converge would throttle the guest.
 * Where the duration of the hold is unknown, throttling is therefore enabled only for a guest that needs it.
 */
const mayBeHeldLong = ({ cutover }: Policy): boolean => cutover === 'manual';

function keepsPolicy(plan: Plan, input: PrecopyInput, policy: Policy): boolean {
  const estimate = estimateOf(plan, input);
  return estimate.converges && estimate.workMs + OVERHEAD_MS <= policy.deadlineSeconds * 1_000;
}

/**
 * A throttle for a guest that converges now and may write more later. QEMU throttles whenever two passes dirtied more than half of
 * what they sent, needed or not. So for a guest near that ratio the first throttle has no noticeable effect, and the second, strong
 * one follows only if the ratio persists.
 */
function standbyThrottle({ dirtyRate, bandwidth }: PrecopyInput): NonNullable<Plan['throttle']> {
  return dirtyRate < bandwidth * TOO_DIRTY * 0.8
    ? { initialPercent: 80, incrementPercent: 15 }
    : { initialPercent: 1, incrementPercent: 30 };
}

function computedThrottle({ dirtyRate, bandwidth, cpuUse }: PrecopyInput): NonNullable<Plan['throttle']> {
  const initialPercent = firstThrottle(dirtyRate, bandwidth, cpuUse);
  // For a guest that uses more CPU time, or writes more, than was measured.
  return { initialPercent, incrementPercent: Math.max(1, Math.ceil((99 - initialPercent) / 2)) };
}

function estimateOf({ throttle }: Plan, input: PrecopyInput): PrecopyEstimate {
  return estimatePrecopy({ ...input, throttle });
}

function estimatePlan(plan: Plan, input: PrecopyInput, policy: Policy): PlanEstimate {
  const { bandwidth } = input;
  const convergence = convergenceOf(input, policy);
  const estimate = estimateOf(plan, input);
  if (plan.method === 'post-copy') {
    const { workMs, writtenBytes, firstBytes } = postCopy(input);
    return {
      plan,
      estimate,
      convergence,
      totalMs: workMs + OVERHEAD_MS,
      blackoutMs: POST_COPY_SWITCH_MS,
      bytes: firstBytes + writtenBytes,
    };
  }
  const restMs = (estimate.restBytes / bandwidth) * 1_000;
  return {
    plan,
    estimate,
    convergence,
    totalMs: estimate.workMs + restMs + OVERHEAD_MS,
    blackoutMs: !estimate.converges && plan.postCopyAllowed ? POST_COPY_SWITCH_MS : restMs + SWITCH_MS,
    bytes: estimate.bytes,
  };
}

/** The whole first pass, the switch, and then the memory that the guest wrote meanwhile, at the bandwidth of the link. */
function postCopy(input: PrecopyInput): { workMs: number; writtenBytes: number; firstBytes: number } {
  const { bandwidth, dirtyRate, workingSet, resident } = input;
  const first = firstIteration(input);
  const writtenBytes = Math.min(workingSet, (dirtyRate * first.writtenForMs) / 1_000);
  return { workMs: first.workMs + (writtenBytes / bandwidth) * 1_000, writtenBytes, firstBytes: resident };
}

/** The method that the guest needs, regardless of the policy. */
function convergenceOf(input: PrecopyInput, policy: Policy): Forecast['convergence'] {
  const base = { connections: CONNECTIONS, postCopyAllowed: false };
  if (keepsPolicy({ method: 'plain', ...base }, input, policy)) return 'likely';
  if (keepsPolicy({ method: 'auto-converge', throttle: computedThrottle(input), ...base }, input, policy)) {
    return 'only-slowed';
  }
  return postCopy(input).workMs + OVERHEAD_MS <= policy.deadlineSeconds * 1_000 ? 'only-post-copy' : 'not';
}

const linkErrorOf = (source: Measurements['linkSource']): number =>
  source === 'known' ? KNOWN_LINK_ERROR : LINK_ERROR;

/** The measurements with each error at its extremes. */
function neighbours(input: PrecopyInput, { linkSource }: Measurements): PrecopyInput[] {
  const factors = (error: number) => [1 - error, 1, 1 + error];
  return factors(linkErrorOf(linkSource)).flatMap((link) =>
    factors(DIRTY_ERROR).map((dirty) => ({
      ...input,
      bandwidth: input.bandwidth * link,
      dirtyRate: input.dirtyRate * dirty,
      // Errors that make the copy longer are combined, so that the range holds nine times in ten.
      resident: input.resident * (link < 1 ? 1 + NOT_ZERO_ERROR : link > 1 ? 1 - NOT_ZERO_ERROR : 1),
      workingSet: input.workingSet * Math.sqrt(dirty),
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

function whyOf({ plan, estimate, blackoutMs, totalMs }: PlanEstimate, input: PrecopyInput, policy: Policy): string {
  const { dirtyRate, bandwidth, cpuUse, resident, workingSet } = input;
  const share = Math.round((dirtyRate / bandwidth) * 100);
  const seen = `the guest writes ${mib(dirtyRate)}/s (at most ${mib(workingSet)}) and the link carries ${mib(bandwidth)}/s (${share} %)`;
  switch (plan.method) {
    case 'post-copy':
      return `${seen}: passes do not shrink enough, so the guest switches after the first pass of ${mib(resident)} and fetches the rest, in about ${seconds(totalMs)}`;
    case 'auto-converge': {
      const { initialPercent } = plan.throttle!;
      const left = Math.round(writesLeft(initialPercent, cpuUse) * share);
      return `${seen}: passes shrink only with the guest slowed; it uses ${Math.round(cpuUse * 100)} % of its CPU, so a throttle of ${initialPercent} % brings its writes to ${left} % of the link, with a vCPU at rest for ${Math.round(sleepMs(initialPercent))} ms at a time, for about ${seconds(estimate.throttledMs)}`;
    }
    case 'plain': {
      if (estimate.converges && totalMs <= policy.deadlineSeconds * 1_000) {
        return `${seen}: the copy converges by itself in about ${seconds(totalMs)}, and the last ${mib(estimate.restBytes)} fit into the blackout budget`;
      }
      if (estimate.converges) return `${seen}: the copy converges, but only after ${seconds(totalMs)}`;
      const rest = `${seen}: passes stay at ${mib(estimate.restBytes)}, which takes ${Math.round(blackoutMs)} ms with the guest standing still`;
      return policy.onNonConvergence === 'exceed' ? `${rest}; the policy allows that` : rest;
    }
  }
}
