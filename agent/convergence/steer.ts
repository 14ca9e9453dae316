import { MIB } from '../../common/units.ts';
import type { FailureCode } from '../../contract/errors.ts';
import type { Plan } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import type { JobStats } from '../hypervisor.ts';
import { MAX_THROTTLE } from './auto-converge.ts';
import { FELT_THROTTLE, mostLimitMs, nextLimitMs, STALLED_PASSES, STALLED_SHRINK } from './downtime-limit.ts';
import { bandwidthOf, type Iteration } from './iterations.ts';

/**
 * Steers a released copy, at the beginning of each pass. While passes shrink, nothing is done: waiting gives the smallest blackout. When
 * passes shrink too slowly, the downtime limit is raised step by step, up to the budget. Without net progress (no pass is smaller
 * than the smallest before) and when QEMU cannot throttle the guest further, the policy's measure follows: post-copy, a longer
 * blackout, or aborting.
 */
export interface Situation {
  /** Since the release of the brake, oldest first. The first is the pass that was held. */
  iterations: readonly Iteration[];
  /** The newest statistics. */
  job: JobStats;
  /** Whether these statistics are the first of a pass. */
  newIteration: boolean;
  /** QEMU's present downtime limit. */
  limitMs: number;
  /** The duration of the copy without holds. */
  activeMs: number;
  plan: Plan;
  policy: Policy;
}

export type Move =
  | { kind: 'wait' }
  | { kind: 'raise-limit'; limitMs: number; why: Why }
  | { kind: 'post-copy'; why: Why }
  | { kind: 'give-up'; code: FailureCode; why: Why };

/** A reason, and the numbers behind it. */
export interface Why {
  because: string;
  [number: string]: unknown;
}

const WAIT: Move = { kind: 'wait' };
/** The end of a pass: a matter of milliseconds on any link, so post-copy need not wait for it. */
const PASS_IS_OVER_BYTES = MIB;
/** The wait before aborting, since the guest's load may pass. As long as KubeVirt's detector of stalled migrations waits. */
const GIVE_UP_MS = 40_000;
/** The limit in proportion to what a pass needs, since the next pass may be a little larger. */
const LIMIT_ROOM = 1.25;
/** How long after the deadline a copy may continue until a longer blackout is reached. */
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
  // The held pass has no pass before it to compare with.
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

/** A larger downtime limit, within the budget, where waiting for smaller passes costs too much time. */
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

/** QEMU's maximum (MAX_MIGRATE_DOWNTIME). */
const MOST_LIMIT_MS = 2_000_000;

/** For how long no pass was smaller than the smallest before. A stronger throttle restarts the count, because it needs time to act. */
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

/** Whether the newest pass could be sent within this limit. */
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
