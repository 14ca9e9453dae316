import type { MigrationView } from '../contract/api.ts';
import type { Policy } from '../contract/policy.ts';
import type { BenchTestbed, Move } from './bench-testbed.ts';
import { handoffMove } from './handoff-move.ts';
import { virshMove } from './virsh-move.ts';
import { autoConverge, kubevirt, nova, plain, postCopy, type VirshStrategy } from './virsh-strategies.ts';

/** A move that takes longer is aborted. */
export const LIMIT_SECONDS = 120;

const OUTCOMES = ['moved', 'not in time', 'gave up', 'refused'] as const;
/** `not in time`: aborted at the limit; `gave up`: ended by itself before; `refused`: before the first byte. */
export type Outcome = (typeof OUTCOMES)[number];

export interface MoveResult {
  moved: boolean;
  outcome: Outcome;
  why?: string;
  /** Handoff's own figures: the copy's active time, its forecast, and the plan's method. */
  activeMs?: number;
  forecastMs?: number;
  method?: string;
}

/** How a guest is moved: by virsh with some options, or by Handoff with some policy. */
export interface MigrationStrategy {
  name: string;
  /** For the list at the start. */
  description: string;
  /** The longest blackout that counts as kept; `mayExceed` when the policy allows a longer one. */
  budgetMs: number;
  mayExceed: boolean;
  /** What makes the copy converge on a guest that writes faster than the link carries; for the estimate of the duration. */
  convergesBy: 'nothing' | 'steps' | 'computed' | 'post-copy' | 'exceed';
  move(testbed: BenchTestbed, move: Move): Promise<MoveResult>;
}

export const HANDOFF = 'handoff';
export const HANDOFF_POSTCOPY = 'handoff-postcopy';
const HANDOFF_EXCEED = 'handoff-exceed';

/** In the order in which they run at each rate. */
export function allStrategies(memoryGiB: number): MigrationStrategy[] {
  return [
    virsh('virsh', 'virsh migrate --live --p2p', 'nothing', plain),
    virsh('auto-converge', 'and --auto-converge', 'steps', autoConverge),
    virsh('postcopy', 'and --postcopy --postcopy-after-precopy', 'post-copy', postCopy),
    virsh('nova', "OpenStack Nova's defaults, through virsh", 'nothing', nova(memoryGiB)),
    virsh('kubevirt', "KubeVirt's defaults, through virsh", 'nothing', kubevirt(memoryGiB)),
    handoff(HANDOFF, 'Handoff, its default policy: throttling allowed, else abort', 'computed', {}),
    handoff(HANDOFF_POSTCOPY, 'Handoff, post-copy allowed', 'post-copy', { onNonConvergence: 'postcopy' }),
    handoff(HANDOFF_EXCEED, 'Handoff, no throttling, longer blackout allowed', 'exceed', {
      onNonConvergence: 'exceed',
      autoConverge: false,
    }),
  ];
}

function virsh(
  name: string,
  description: string,
  convergesBy: MigrationStrategy['convergesBy'],
  strategy: VirshStrategy,
): MigrationStrategy {
  return {
    name,
    description,
    budgetMs: strategy.budgetMs,
    mayExceed: false,
    convergesBy,
    move: async ({ lab }, move) => {
      const began = performance.now();
      const { moved, why } = await virshMove(lab, move, strategy, LIMIT_SECONDS);
      if (moved) return { moved, outcome: 'moved' };
      const outcome = performance.now() - began > LIMIT_SECONDS * 1000 ? 'not in time' : 'gave up';
      return { moved, outcome, ...(why !== undefined && { why }) };
    },
  };
}

const BUDGET_MS = 300;

function handoff(
  name: string,
  description: string,
  convergesBy: MigrationStrategy['convergesBy'],
  policy: Partial<Policy>,
): MigrationStrategy {
  return {
    name,
    description,
    budgetMs: BUDGET_MS,
    mayExceed: policy.onNonConvergence === 'exceed',
    convergesBy,
    move: async (testbed, move) => {
      const requested = { blackoutBudgetMs: BUDGET_MS, deadlineSeconds: LIMIT_SECONDS, ...policy };
      return resultOf((await handoffMove(await testbed.managedLab(), move, requested)).view);
    },
  };
}

function resultOf({ status, runsOn, destination, failure, result, forecast }: MigrationView): MoveResult {
  const moved = runsOn === destination;
  return {
    moved,
    outcome: moved ? 'moved' : outcomeOf(status, failure?.code),
    ...(failure !== undefined && { why: `${failure.code}: ${failure.message}` }),
    ...(result?.activeMs !== undefined && { activeMs: result.activeMs }),
    ...(forecast !== undefined && { forecastMs: forecast.totalMs.expected, method: forecast.plan.method }),
  };
}

function outcomeOf(status: MigrationView['status'], code: string | undefined): Outcome {
  if (code === 'PolicyNotMet') return 'refused';
  return code === 'DeadlineExceeded' || status === 'CANCELLED' ? 'not in time' : 'gave up';
}
