import type { MigrationView } from '../contract/api.ts';
import type { Policy } from '../contract/policy.ts';
import type { BenchTestbed, Move } from './bench-testbed.ts';
import { handoffMove } from './handoff-move.ts';
import { virshMove } from './virsh-move.ts';
import { autoConverge, kubevirt, nova, plain, postCopy, type VirshWay } from './virsh-strategies.ts';

/** Nobody is waited for longer. */
export const LIMIT_SECONDS = 120;

const OUTCOMES = ['moved', 'not in time', 'gave up', 'refused'] as const;
/** `not in time`: aborted when the time was over; `gave up`: by itself, before; `refused`: before the first byte. */
export type Outcome = (typeof OUTCOMES)[number];

export interface Told {
  moved: boolean;
  outcome: Outcome;
  why?: string;
  /** Handoff's own figures: what the copy worked for, what was forecast for it, and how it was made. */
  activeMs?: number;
  forecastMs?: number;
  method?: string;
}

/** A way to move a guest. */
export interface Way {
  name: string;
  /** What it is, for a person. */
  what: string;
  /** The blackout it is held to; whether it may go past that is its policy's word. */
  budgetMs: number;
  mayExceed: boolean;
  /** What lets it converge on a guest that writes faster than the link carries: for the estimate of how long it takes. */
  convergesBy: 'nothing' | 'steps' | 'computed' | 'post-copy' | 'exceed';
  move(stand: BenchTestbed, move: Move): Promise<Told>;
}

export const HANDOFF = 'handoff';
export const HANDOFF_POSTCOPY = 'handoff-postcopy';
const HANDOFF_EXCEED = 'handoff-exceed';

/** In the task they are tried in at each rate. */
export function allWays(memoryGiB: number): Way[] {
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

function virsh(name: string, what: string, convergesBy: Way['convergesBy'], way: VirshWay): Way {
  return {
    name,
    what,
    budgetMs: way.budgetMs,
    mayExceed: false,
    convergesBy,
    move: async ({ lab }, move) => {
      const began = performance.now();
      const { moved, why } = await virshMove(lab, move, way, LIMIT_SECONDS);
      if (moved) return { moved, outcome: 'moved' };
      const outcome = performance.now() - began > LIMIT_SECONDS * 1000 ? 'not in time' : 'gave up';
      return { moved, outcome, ...(why !== undefined && { why }) };
    },
  };
}

const BUDGET_MS = 300;

function handoff(name: string, what: string, convergesBy: Way['convergesBy'], policy: Partial<Policy>): Way {
  return {
    name,
    what,
    budgetMs: BUDGET_MS,
    mayExceed: policy.onNonConvergence === 'exceed',
    convergesBy,
    move: async (stand, move) => {
      const wish = { blackoutBudgetMs: BUDGET_MS, deadlineSeconds: LIMIT_SECONDS, ...policy };
      return toldBy((await handoffMove(await stand.world(), move, wish)).view);
    },
  };
}

function toldBy({ status, runsOn, destination, failure, result, forecast }: MigrationView): Told {
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
