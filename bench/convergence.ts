import { bytes, duration } from '../cli/text.ts';
import { table } from '../common/text-table.ts';
import { BenchTestbed } from './bench-testbed.ts';
import { estimateSeconds } from './estimate.ts';
import { allWays, type Way } from './strategies.ts';
import { type Case, type Verdicts, verdictsOf } from './verdicts.ts';

/**
 * A first pass of some 280 MiB takes 5 s at this rate, and the guest has to dirty three times as much a second: emulated, it can do
 * twice that, so that neither the guest nor the machine is what is measured.
 */
export const LINK_MIBPS = 60;
const GUEST = { name: 'busy', memoryMiB: 512, workingSetMiB: 200, dirtyMiBps: 0 };
const FIRST_PASS_MIB = 280;

export const WAYS: readonly Way[] = allWays(GUEST.memoryMiB / 1024);
export const RATES = [0, 0.2, 0.8, 1.5, 3];

export interface ConvergenceBench {
  bench: 'convergence';
  linkMiBps: number;
  guest: { memoryMiB: number; workingSetMiB: number };
  cases: Case[];
  targets: Verdicts;
}

export interface ConvergenceOptions {
  rates: readonly number[];
  ways: readonly Way[];
  runs: number;
}

/**
 * One guest on a link held at one rate, dirtying memory at parts and multiples of that rate, moved in turn in every way. It is
 * in the same place and state before each move, and checks its own memory all the time; damage ends the bench.
 */
export function convergenceBench(options: ConvergenceOptions, say: (line: string) => void): Promise<ConvergenceBench> {
  const { rates, ways, runs } = options;
  say(`about ${duration(estimate(options) * 1000)} for ${rates.length * ways.length * runs} moves`);
  return BenchTestbed.with(LINK_MIBPS, async (stand) => {
    await stand.newGuest(GUEST);
    const cases: Case[] = [];
    for (let run = 1; run <= runs; run++) {
      for (const rate of rates) {
        for (const way of ways) {
          // Cold caches of the first of all moves are nobody's doing.
          if (cases.length === 0) await warmUp(stand, ways);
          const each = await oneCase(stand, way, rate, run);
          cases.push(each);
          say(`${way.name.padEnd(16)} at ${rate} x ${LINK_MIBPS} MiB/s: ${caseLine(each)}`);
        }
      }
    }
    await stand.requireWholeSetIntact();
    const { memoryMiB, workingSetMiB } = GUEST;
    return {
      bench: 'convergence',
      linkMiBps: LINK_MIBPS,
      guest: { memoryMiB, workingSetMiB },
      cases,
      targets: verdictsOf(cases),
    };
  });
}

async function warmUp(stand: BenchTestbed, ways: readonly Way[]): Promise<void> {
  // Of Handoff if it is to be measured: its agent and functions are compiled by then too.
  const way = ways.findLast(({ convergesBy }) => convergesBy === 'computed') ?? ways[0]!;
  await stand.ready('kvm1', 0);
  await stand.watched((move) => way.move(stand, move));
}

async function oneCase(stand: BenchTestbed, way: Way, rate: number, run: number): Promise<Case> {
  await stand.ready('kvm1', Math.round(rate * LINK_MIBPS));
  const { moved: _, sight, bytes: carried, askedMs, ...told } = await stand.watched((move) => way.move(stand, move));
  const { totalMs, blackoutMs, usualGapMs, downtimeMs, longestGapMs, requests } = sight;
  const within = [blackoutMs, downtimeMs].every((each) => each === undefined || each <= way.budgetMs);
  return {
    way: way.name,
    rate,
    run,
    ...told,
    ...(totalMs !== undefined && { totalMs }),
    askedMs: Math.round(askedMs),
    ...(blackoutMs !== undefined && { blackoutMs: Math.round(blackoutMs) }),
    ...(usualGapMs !== undefined && { usualGapMs: Math.round(usualGapMs) }),
    ...(downtimeMs !== undefined && { downtimeMs }),
    longestGapMs: Math.round(longestGapMs),
    budgetMs: way.budgetMs,
    mayExceed: way.mayExceed,
    ...(blackoutMs !== undefined && { budgetKept: within }),
    requestsBefore: Math.round(requests.before * 10) / 10,
    requestsDuring: Math.round(requests.during * 10) / 10,
    bytes: carried,
  };
}

function estimate({ rates, ways, runs }: ConvergenceOptions): number {
  const { workingSetMiB: setMiB } = GUEST;
  const one = (way: Way, rate: number) =>
    estimateSeconds(way, { rate, linkMiBps: LINK_MIBPS, firstMiB: FIRST_PASS_MIB, setMiB });
  return runs * rates.flatMap((rate) => ways.map((way) => one(way, rate))).reduce((sum, each) => sum + each, 0);
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
    each.way,
    each.outcome === 'moved' ? ofTime(each.totalMs) : each.outcome,
    ofTime(each.askedMs),
    ofTime(each.blackoutMs),
    ofTime(each.downtimeMs),
    each.budgetKept === undefined ? '-' : each.budgetKept ? 'kept' : each.mayExceed ? 'passed, as allowed' : 'PASSED',
    served(each),
    bytes(each.bytes),
  ]);
  const head = ['RATE', 'WAY', 'COPY', 'ALL IN ALL', 'BLACKOUT', 'DOWNTIME', 'BUDGET', 'SERVED', 'SENT'];
  return [
    table([head, ...rows]),
    '',
    `rate: dirtied a second, as a multiple of the link's ${linkMiBps} MiB/s; copy: from the start of the destination's QEMU until`,
    'the guest ran there with all its memory; all in all: from the request or command to its end; blackout: seen by pings;',
    "downtime: QEMU's figure; served: requests answered a second during the copy, against before",
    '',
    ...verdictLines(targets),
  ].join('\n');
}

function verdictLines({ met, at1_5, blackoutOverBudget, easyRatioVsPlain, refused }: Verdicts): string[] {
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
