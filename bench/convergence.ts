import { bytes, duration } from '../cli/text.ts';
import { table } from '../common/text-table.ts';
import { BenchTestbed } from './bench-testbed.ts';
import { estimateSeconds } from './duration-estimate.ts';
import { allStrategies, type MigrationStrategy } from './migration-strategies.ts';
import { type Case, evaluateTargets, type TargetResults } from './targets.ts';

/**
 * A first iteration of some 280 MiB takes 5 s at this rate, and the guest has to dirty three times the rate: an emulated guest can do twice
 * that, so that neither the guest nor the machine limits the result.
 */
export const LINK_MIBPS = 60;
const GUEST = { name: 'busy', memoryMiB: 512, workingSetMiB: 200, dirtyMiBps: 0 };
const FIRST_PASS_MIB = 280;

export const STRATEGIES: readonly MigrationStrategy[] = allStrategies(GUEST.memoryMiB / 1024);
export const RATES = [0, 0.2, 0.8, 1.5, 3];

export interface ConvergenceBench {
  bench: 'convergence';
  linkMiBps: number;
  guest: { memoryMiB: number; workingSetMiB: number };
  cases: Case[];
  targets: TargetResults;
}

export interface ConvergenceOptions {
  rates: readonly number[];
  strategies: readonly MigrationStrategy[];
  runs: number;
}

/**
 * One guest on a link held at one rate, dirtying memory at parts and multiples of that rate, moved by each strategy in turn. The guest is
 * in the same place and state before each move, and checks its own memory all the time; damage ends the bench.
 */
export function convergenceBench(options: ConvergenceOptions, say: (line: string) => void): Promise<ConvergenceBench> {
  const { rates, strategies, runs } = options;
  say(`about ${duration(estimate(options) * 1000)} for ${rates.length * strategies.length * runs} moves`);
  return BenchTestbed.with(LINK_MIBPS, async (testbed) => {
    await testbed.newGuest(GUEST);
    const cases: Case[] = [];
    for (let run = 1; run <= runs; run++) {
      for (const rate of rates) {
        for (const strategy of strategies) {
          // The first move of all meets cold caches.
          if (cases.length === 0) await warmUp(testbed, strategies);
          const each = await oneCase(testbed, strategy, rate, run);
          cases.push(each);
          say(`${strategy.name.padEnd(16)} at ${rate} x ${LINK_MIBPS} MiB/s: ${caseLine(each)}`);
        }
      }
    }
    await testbed.requireWholeSetIntact();
    const { memoryMiB, workingSetMiB } = GUEST;
    return {
      bench: 'convergence',
      linkMiBps: LINK_MIBPS,
      guest: { memoryMiB, workingSetMiB },
      cases,
      targets: evaluateTargets(cases),
    };
  });
}

async function warmUp(testbed: BenchTestbed, strategies: readonly MigrationStrategy[]): Promise<void> {
  // By Handoff where Handoff is measured: its agent and functions are compiled by then, too.
  const strategy = strategies.findLast(({ convergesBy }) => convergesBy === 'computed') ?? strategies[0]!;
  await testbed.ready('kvm1', 0);
  await testbed.measured((move) => strategy.move(testbed, move));
}

async function oneCase(testbed: BenchTestbed, strategy: MigrationStrategy, rate: number, run: number): Promise<Case> {
  await testbed.ready('kvm1', Math.round(rate * LINK_MIBPS));
  const {
    moved: _,
    measurement,
    bytes: carried,
    askedMs,
    ...result
  } = await testbed.measured((move) => strategy.move(testbed, move));
  const { totalMs, blackoutMs, usualGapMs, downtimeMs, longestGapMs, requests } = measurement;
  const within = [blackoutMs, downtimeMs].every((each) => each === undefined || each <= strategy.budgetMs);
  return {
    strategy: strategy.name,
    rate,
    run,
    ...result,
    ...(totalMs !== undefined && { totalMs }),
    askedMs: Math.round(askedMs),
    ...(blackoutMs !== undefined && { blackoutMs: Math.round(blackoutMs) }),
    ...(usualGapMs !== undefined && { usualGapMs: Math.round(usualGapMs) }),
    ...(downtimeMs !== undefined && { downtimeMs }),
    longestGapMs: Math.round(longestGapMs),
    budgetMs: strategy.budgetMs,
    mayExceed: strategy.mayExceed,
    ...(blackoutMs !== undefined && { budgetKept: within }),
    requestsBefore: Math.round(requests.before * 10) / 10,
    requestsDuring: Math.round(requests.during * 10) / 10,
    bytes: carried,
  };
}

function estimate({ rates, strategies, runs }: ConvergenceOptions): number {
  const { workingSetMiB: setMiB } = GUEST;
  const one = (strategy: MigrationStrategy, rate: number) =>
    estimateSeconds(strategy, { rate, linkMiBps: LINK_MIBPS, firstMiB: FIRST_PASS_MIB, setMiB });
  return (
    runs *
    rates.flatMap((rate) => strategies.map((strategy) => one(strategy, rate))).reduce((sum, each) => sum + each, 0)
  );
}

const ofTime = (ms: number | undefined): string => (ms === undefined ? '-' : duration(ms));
const served = ({ requestsBefore, requestsDuring }: Case): string =>
  requestsBefore === 0 ? '-' : `${Math.round((requestsDuring / requestsBefore) * 100)} %`;

function caseLine(each: Case): string {
  const { outcome, why, totalMs, blackoutMs } = each;
  if (outcome !== 'moved') return `${outcome}${why === undefined ? '' : ` (${why.split('\n')[0]})`}`;
  return `${ofTime(totalMs)}, blackout ${ofTime(blackoutMs)}, ${served(each)} of its requests answered meanwhile`;
}

export function convergenceTable({ cases, targets, linkMiBps }: ConvergenceBench): string {
  const rows = cases.map((each) => [
    `${each.rate}`,
    each.strategy,
    each.outcome === 'moved' ? ofTime(each.totalMs) : each.outcome,
    ofTime(each.askedMs),
    ofTime(each.blackoutMs),
    ofTime(each.downtimeMs),
    each.budgetKept === undefined ? '-' : each.budgetKept ? 'kept' : each.mayExceed ? 'passed, as allowed' : 'PASSED',
    served(each),
    bytes(each.bytes),
  ]);
  const head = ['RATE', 'STRATEGY', 'COPY', 'ALL IN ALL', 'BLACKOUT', 'DOWNTIME', 'BUDGET', 'SERVED', 'SENT'];
  return [
    table([head, ...rows]),
    '',
    `rate: dirtied a second, as a multiple of the link's ${linkMiBps} MiB/s; copy: from the start of the destination's QEMU until`,
    'the guest ran there with all its memory; all in all: from the request or command to its end; blackout: seen by pings;',
    "downtime: QEMU's figure; served: requests answered a second during the copy, against before",
    '',
    ...targetLines(targets),
  ].join('\n');
}

function targetLines({ met, at1_5, blackoutOverBudget, easyRatioVsPlain, refused }: TargetResults): string[] {
  const times = (value: number | null) => (value === null ? 'not measured' : `${value.toFixed(2)} times`);
  const line = (reached: boolean | null, what: string) =>
    `${reached === null ? 'unknown' : reached ? 'reached' : 'missed '}  ${what}`;
  return [
    line(
      met.finishesAllAllowed,
      `Handoff moves every guest its policy allows to be moved (${refused} refused before the first byte)`,
    ),
    line(
      met.throttle,
      `at 1.5, throttling: ${times(at1_5.throttleRatioVsAutoConverge)} --auto-converge's time; wanted: a third`,
    ),
    line(
      met.postCopy,
      `at 1.5, post-copy: ${times(at1_5.postCopyRatioVsAutoConverge)} --auto-converge's time; wanted: a sixth`,
    ),
    line(met.blackout, `blackouts over budget: ${blackoutOverBudget}; wanted: none`),
    line(met.easy, `easy guests: ${times(easyRatioVsPlain)} plain virsh's time; wanted: not slower`),
  ];
}
