import { MIB } from '../../common/units.ts';
import type { FailureCode } from '../../contract/errors.ts';
import type { Plan } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import type { JobStats } from '../hypervisor.ts';
import { MAX_THROTTLE } from './auto-converge.ts';
import { FELT_THROTTLE, mostLimitMs, nextLimitMs, STALLED_PASSES, STALLED_SHRINK } from './downtime-limit.ts';
import { bandwidthOf, type Iteration } from './iterations.ts';

/**
 * What to do about a released copy, decided at the beginning of each pass. As long as passes shrink, nothing: the smallest
 * blackout is had by waiting. Passes that shrink too slowly have the downtime limit raised, step by step up to the budget. When
 * there is no net progress, that is no pass smaller than the smallest before, and QEMU can't throttle the guest any more, the
 * next measure is the one the policy names: post-copy, a longer blackout, or giving up.
 */
export interface Situation {
  /** Since the release, oldest first. The first is the one that was held. */
  iterations: readonly Iteration[];
  /** The newest look. */
  job: JobStats;
  /** Whether that look was the first of a pass. */
  newIteration: boolean;
  /** The downtime limit QEMU has now. */
  limitMs: number;
  /** What the copy has been at work for, holds not counted. */
  activeMs: number;
  plan: Plan;
  policy: Policy;
}

export type Move =
  | { kind: 'wait' }
  | { kind: 'raise-limit'; limitMs: number; why: Why }
  | { kind: 'post-copy'; why: Why }
  | { kind: 'give-up'; code: FailureCode; why: Why };

/** A reason in words, and the numbers it was made from. */
export interface Why {
  because: string;
  [number: string]: unknown;
}

const WAIT: Move = { kind: 'wait' };
/** The last of a pass, on any link worth migrating over a matter of milliseconds: post-copy need not wait for it. */
const PASS_IS_OVER_BYTES = MIB;
/** Nothing is lost by waiting before giving up, and what makes the guest dirty more may pass: as long as KubeVirt's detector waits. */
const GIVE_UP_MS = 40_000;
/** More than a pass needs, since the next one may be a little larger. */
const LIMIT_ROOM = 1.25;
/** Past the deadline the copy may go on for as long as a longer blackout takes to be reached, but not for ever. */
const OVERTIME_MS = 60_000;

export function steer(situation: Situation): Move {
  const { iterations, job, newIteration, activeMs, plan, policy } = situation;
  const deadlineMs = policy.deadlineSeconds * 1_000;
  if (plan.method === 'post-copy' && (iterations.length > 1 || job.bytesRemaining <= PASS_IS_OVER_BYTES)) {
    return { kind: 'post-copy', why: { because: 'as planned, after the first pass', ...numbersOf(situation) } };
  }
  if (activeMs > deadlineMs) {
    return nextMeasure(situation, `the deadline of ${policy.deadlineSeconds} s is over`, 'DeadlineExceeded');
  }
  // The held pass itself has nothing before it to be compared with.
  if (!newIteration || iterations.length < 3) return WAIT;

  const stall = stallOf(iterations);
  const throttleMayRise = plan.throttle !== undefined && (job.throttlePercent ?? 0) < MAX_THROTTLE;
  if (
    stall.iterations >= STALLED_PASSES &&
    !throttleMayRise &&
    !fits(situation, mostLimitMs(policy.blackoutBudgetMs))
  ) {
    const because = `no net progress for ${stall.iterations} passes, ${Math.round(stall.ms / 1_000)} s`;
    if (policy.onNonConvergence !== 'abort' || stall.ms >= GIVE_UP_MS)
      return nextMeasure(situation, because, 'NotConverging');
  }
  return raised(situation);
}

/** A larger downtime limit, within the budget, where waiting for a smaller rest costs too much. */
function raised(situation: Situation): Move {
  const { iterations, limitMs, policy } = situation;
  const [before, now] = iterations.slice(-2) as [Iteration, Iteration];
  const shrink = now.bytes / before.bytes;
  const next = nextLimitMs(limitMs, shrink, now.throttlePercent, policy.blackoutBudgetMs);
  if (next <= limitMs) return WAIT;
  const because =
    now.throttlePercent >= FELT_THROTTLE
      ? `the guest is slowed by ${now.throttlePercent} %, so that time matters more`
      : `a pass was ${Math.round(shrink * 100)} % of the one before`;
  return { kind: 'raise-limit', limitMs: next, why: { because, ...numbersOf(situation) } };
}

function nextMeasure(situation: Situation, because: string, code: FailureCode): Move {
  const { iterations, job, limitMs, activeMs, policy, plan } = situation;
  const why = { because, ...numbersOf(situation) };
  const overtime = activeMs > policy.deadlineSeconds * 1_000 + OVERTIME_MS;
  if (policy.onNonConvergence === 'postcopy' && plan.postCopyAllowed) return { kind: 'post-copy', why };
  if (policy.onNonConvergence === 'exceed' && !overtime) {
    const bytes = Math.max(iterations.at(-1)!.bytes, job.bytesRemaining);
    const needed = Math.ceil(
      (bytes / (bandwidthOf(iterations) ?? Math.max(job.bytesPerSecond, 1))) * 1_000 * LIMIT_ROOM,
    );
    return needed > limitMs ? { kind: 'raise-limit', limitMs: Math.min(needed, MOST_LIMIT_MS), why } : WAIT;
  }
  return { kind: 'give-up', code, why };
}

/** QEMU takes no more (MAX_MIGRATE_DOWNTIME). */
const MOST_LIMIT_MS = 2_000_000;

/** Since when no pass was smaller than the smallest before. A stronger throttle begins the count anew: it has yet to show. */
function stallOf(iterations: readonly Iteration[]): { iterations: number; ms: number } {
  let best: Iteration | undefined;
  let stalled = 0;
  for (const pass of iterations.slice(1)) {
    if (best === undefined || pass.throttlePercent > best.throttlePercent || pass.bytes < best.bytes * STALLED_SHRINK) {
      best = pass;
      stalled = 0;
    } else {
      stalled += 1;
    }
  }
  return { iterations: stalled, ms: best === undefined ? 0 : iterations.at(-1)!.elapsedMs - best.elapsedMs };
}

/** Whether what is to be sent now would get through within such a limit. */
function fits({ iterations }: Situation, limitMs: number): boolean {
  const bandwidth = bandwidthOf(iterations);
  return bandwidth !== undefined && (iterations.at(-1)!.bytes / bandwidth) * 1_000 <= limitMs;
}

function numbersOf({ iterations, job, limitMs, activeMs, policy }: Situation): Record<string, number> {
  const bandwidth = bandwidthOf(iterations) ?? job.bytesPerSecond;
  return {
    iteration: job.iteration,
    bytesRemaining: job.bytesRemaining,
    bytesPerSecond: Math.round(bandwidth),
    dirtyBytesPerSecond: job.dirtyBytesPerSecond,
    throttlePercent: job.throttlePercent ?? 0,
    downtimeLimitMs: limitMs,
    budgetMs: policy.blackoutBudgetMs,
    activeMs,
  };
}
