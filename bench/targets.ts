import { median } from '../common/statistics.ts';
import { HANDOFF, HANDOFF_POSTCOPY, LIMIT_SECONDS, type Outcome } from './migration-strategies.ts';

/** One move of one guest by one strategy. Times in ms, rates per second. */
export interface Case {
  strategy: string;
  /** Of the guest's dirty rate to the link's bandwidth. */
  rate: number;
  run: number;
  outcome: Outcome;
  why?: string;
  /** From the start of the destination's QEMU until the guest ran there with all of its memory, seen from outside. */
  totalMs?: number;
  /** From the request, or the command's start, to its end. */
  askedMs: number;
  activeMs?: number;
  forecastMs?: number;
  method?: string;
  /** See MoveMeasurement. */
  blackoutMs?: number;
  usualGapMs?: number;
  downtimeMs?: number;
  longestGapMs: number;
  budgetMs: number;
  mayExceed: boolean;
  /** Neither the blackout seen from outside nor QEMU's figure is longer than the budget. */
  budgetKept?: boolean;
  requestsBefore: number;
  requestsDuring: number;
  /** Sent and received over the migration link, in bytes. */
  bytes: number;
}

export interface TargetResults {
  /** Whether every migration Handoff did not refuse by its policy moved the guest; how many it refused is beside it. */
  finishesAllAllowed: boolean;
  refused: number;
  /** Handoff's total time at 1.5 times the bandwidth, to that of --auto-converge. */
  at1_5: { throttleRatioVsAutoConverge: number | null; postCopyRatioVsAutoConverge: number | null };
  /** Handoff's moves whose blackout was longer than the budget although the policy does not allow it. */
  blackoutOverBudget: number;
  /** Handoff's total time to plain virsh's, on guests of which plain virsh moves every one with ease. */
  easyRatioVsPlain: number | null;
  /** Which targets were reached; null is not measured. */
  met: Record<'finishesAllAllowed' | 'throttle' | 'postCopy' | 'blackout' | 'easy', boolean | null>;
}

/** A guest that dirties less than this part of the link's rate is easy. */
const EASY = 0.5;
/** Of two strategies that take the same time one is a little slower in each run; a difference up to this is none. */
const SAME = 1.05;

export function evaluateTargets(cases: readonly Case[]): TargetResults {
  const ours = cases.filter(({ strategy }) => strategy.startsWith(HANDOFF));
  const allowed = ours.filter(({ outcome }) => outcome !== 'refused');
  const finishesAllAllowed = allowed.every(({ outcome }) => outcome === 'moved');
  const converging = totalAt(cases, 'auto-converge', 1.5);
  const throttle = ratio(finished(cases, HANDOFF, 1.5), converging);
  const postCopy = ratio(finished(cases, HANDOFF_POSTCOPY, 1.5), converging);
  const over = allowed.filter(({ mayExceed, budgetKept }) => !mayExceed && budgetKept === false).length;
  const rates = [...new Set(cases.map(({ rate }) => rate))].filter((rate) => rate < EASY);
  const sum = (strategy: string) =>
    rates.reduce<number | undefined>((total, rate) => {
      const each = finished(cases, strategy, rate);
      return total === undefined || each === undefined ? undefined : total + each;
    }, 0);
  const easy = rates.length === 0 ? null : ratio(sum(HANDOFF), sum('virsh'));
  return {
    finishesAllAllowed,
    refused: ours.length - allowed.length,
    at1_5: { throttleRatioVsAutoConverge: throttle, postCopyRatioVsAutoConverge: postCopy },
    blackoutOverBudget: over,
    easyRatioVsPlain: easy,
    met: {
      finishesAllAllowed: allowed.length === 0 ? null : finishesAllAllowed,
      throttle: atMost(throttle, 1 / 3),
      postCopy: atMost(postCopy, 1 / 6),
      blackout: allowed.length === 0 ? null : over === 0,
      easy: atMost(easy, SAME),
    },
  };
}

const atMost = (value: number | null, most: number): boolean | null => (value === null ? null : value <= most);

/** Undefined when not all runs moved the guest. */
function finished(cases: readonly Case[], strategy: string, rate: number): number | undefined {
  const runs = cases.filter((each) => each.strategy === strategy && each.rate === rate);
  if (runs.length === 0 || runs.some(({ outcome }) => outcome !== 'moved')) return undefined;
  return totalAt(runs, strategy, rate);
}

/** A run that did not finish counts as the time it was given, which flatters it. */
function totalAt(cases: readonly Case[], strategy: string, rate: number): number | undefined {
  const runs = cases.filter((each) => each.strategy === strategy && each.rate === rate);
  return median(runs.map(({ totalMs }) => totalMs ?? LIMIT_SECONDS * 1000));
}

const ratio = (part: number | undefined, whole: number | undefined): number | null =>
  part === undefined || whole === undefined ? null : part / whole;
