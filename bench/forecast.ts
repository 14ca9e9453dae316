import { duration } from '../cli/text.ts';
import { table } from '../common/text-table.ts';
import type { Policy } from '../contract/policy.ts';
import { calibrationOf, type Miss, missOf } from '../lambdas/migrations/forecast-calibration.ts';
import { type BenchGuest, BenchTestbed } from './bench-testbed.ts';
import { handoffMove } from './handoff-move.ts';

const LINK_MIBPS = 60;
const DEADLINE_SECONDS = 60;

const GUESTS: readonly Omit<BenchGuest, 'address'>[] = [
  { name: 'small', memoryMiB: 256, workingSetMiB: 48, dirtyMiBps: 0 },
  { name: 'middle', memoryMiB: 512, workingSetMiB: 200, dirtyMiBps: 0 },
  { name: 'large', memoryMiB: 768, workingSetMiB: 300, dirtyMiBps: 0 },
];

/** In turn: how much each guest dirties, as a multiple of the link's rate, and the policy of the migration. */
const SCENARIOS: readonly { rate: number; policy: Partial<Policy> }[] = [
  { rate: 0, policy: {} },
  { rate: 0.2, policy: {} },
  { rate: 1.5, policy: {} },
  { rate: 0.5, policy: { onNonConvergence: 'postcopy' } },
  { rate: 1.5, policy: { onNonConvergence: 'postcopy' } },
  { rate: 0.1, policy: { blackoutBudgetMs: 100 } },
  { rate: 0.8, policy: {} },
  { rate: 3, policy: { onNonConvergence: 'postcopy' } },
  { rate: 0.4, policy: { bandwidthMiBps: 40 } },
  { rate: 1, policy: { onNonConvergence: 'exceed', autoConverge: false, blackoutBudgetMs: 1_000 } },
];

interface ForecastCase {
  guest: string;
  rate: number;
  policy: Partial<Policy>;
  status: string;
  /** The outcome against the forecast. Absent when the guest was not moved; `why` has the reason. */
  miss?: Miss;
  why?: string;
  method?: string;
  convergence?: string;
}

export interface ForecastBench {
  bench: 'forecast';
  /** As a share of the outcome: 0.1 is a tenth of it, too much or too little. */
  totalError: { median: number; p90: number };
  blackoutErrorMs: { median: number; p90: number };
  /** The share of outcomes within the forecast range. */
  withinRange: { total: number; blackout: number };
  targets: { medianTotalErrorAtMost15Percent: boolean; nineInTenTotalsWithinRange: boolean };
  linkMiBps: number;
  /** Those compared with their forecast; `refused` and `failed` have no outcome to compare. */
  migrations: number;
  refused: number;
  failed: number;
  cases: ForecastCase[];
}

/**
 * Forecast against outcome, both from the records of migrations through the API: guests of different sizes, policies and dirty rates, in both
 * directions over a link held at one rate. Refused migrations are listed and counted apart, and others take their place.
 */
export function forecastBench(runs: number, say: (line: string) => void): Promise<ForecastBench> {
  say(`about ${duration(runs * 24_000)} for ${runs} migrations`);
  return BenchTestbed.with(LINK_MIBPS, async (testbed) => {
    const cases: ForecastCase[] = [];
    const perGuest = Math.ceil(runs / GUESTS.length);
    for (const guest of GUESTS) {
      await testbed.newGuest(guest);
      let compared = 0;
      // A refused scenario is skipped; the bench stops when all have been refused twice.
      for (let turn = 0; compared < perGuest && turn < 2 * SCENARIOS.length + perGuest; turn++) {
        const each = await oneCase(testbed, guest.name, SCENARIOS[turn % SCENARIOS.length]!);
        cases.push(each);
        if (each.miss !== undefined) compared += 1;
        say(`${guest.name.padEnd(6)} at ${each.rate} x ${LINK_MIBPS} MiB/s: ${caseLine(each)}`);
      }
      await testbed.requireWholeSetIntact();
    }
    const all = cases.flatMap((each) => (each.miss === undefined ? [] : [each.miss]));
    const { time, blackout } = calibrationOf(all);
    if (time === undefined || blackout === undefined) throw new Error('no migration has a forecast and an outcome');
    const refused = cases.filter(({ why }) => why?.startsWith('PolicyNotMet')).length;
    return {
      bench: 'forecast',
      linkMiBps: LINK_MIBPS,
      migrations: all.length,
      refused,
      failed: cases.length - all.length - refused,
      totalError: { median: time.median, p90: time.p90 },
      blackoutErrorMs: { median: blackout.medianMs, p90: blackout.p90Ms },
      withinRange: { total: time.within, blackout: blackout.within },
      targets: { medianTotalErrorAtMost15Percent: time.median <= 0.15, nineInTenTotalsWithinRange: time.within >= 0.9 },
      cases,
    };
  });
}

async function oneCase(
  testbed: BenchTestbed,
  guest: string,
  { rate, policy }: (typeof SCENARIOS)[number],
): Promise<ForecastCase> {
  await testbed.ready(testbed.nextMove.from, Math.round(rate * LINK_MIBPS));
  const world = await testbed.managedLab();
  const requested = { deadlineSeconds: DEADLINE_SECONDS, ...policy };
  const { view } = await testbed.moved((move) => handoffMove(world, move, requested));
  const moved = view.runsOn === view.destination;
  if (moved && view.forecast === undefined) throw new Error(`${view.migrationId} was moved without a forecast`);
  const miss = moved ? missOf(view) : undefined;
  return {
    guest,
    rate,
    policy,
    status: view.status,
    ...(miss !== undefined && { miss }),
    ...(view.failure !== undefined && { why: `${view.failure.code}: ${view.failure.message}` }),
    ...(view.forecast !== undefined && { method: view.forecast.plan.method, convergence: view.forecast.convergence }),
  };
}

function caseLine({ miss, why, status, method }: ForecastCase): string {
  if (miss === undefined) return why ?? `${status}, without a forecast or an outcome`;
  const { time, blackout } = miss;
  const percent = -Math.round(time.error * 100);
  const sign = percent > 0 ? '+' : '';
  const took = `${duration(time.forecast.expected)} forecast, ${duration(time.outcome)} taken (${sign}${percent} %)`;
  const blackouts = blackout && `${duration(blackout.forecast.expected)} and ${duration(blackout.outcome)}`;
  return `${method}: ${took}${time.within ? '' : ', OUT OF RANGE'}; blackout ${blackouts ?? 'not observed'}`;
}

export function forecastTable(result: ForecastBench): string {
  const { cases, totalError, blackoutErrorMs, withinRange, targets, migrations, refused, failed } = result;
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const rows = cases.map(({ guest, rate, method = '-', miss, why, status }) => [
    guest,
    `${rate}`,
    method,
    ...(miss === undefined
      ? [why?.split(':')[0] ?? status]
      : [
          duration(miss.time.forecast.expected),
          `${duration(miss.time.forecast.low)} to ${duration(miss.time.forecast.high)}`,
          duration(miss.time.outcome),
          miss.time.within ? '' : 'out of range',
          ...(miss.blackout === undefined
            ? ['-', 'not observed']
            : [duration(miss.blackout.forecast.expected), duration(miss.blackout.outcome)]),
        ]),
  ]);
  return [
    table([['GUEST', 'RATE', 'METHOD', 'FORECAST', 'RANGE', 'OUTCOME', '', 'BLACKOUT FORECAST', 'BLACKOUT'], ...rows]),
    '',
    `${migrations} migrations compared with their forecast (${refused} refused by their policy, ${failed} failed)`,
    `total time: error ${percent(totalError.median)} median, ${percent(totalError.p90)} 90th percentile; ${percent(withinRange.total)} within the forecast range`,
    `blackout: error ${duration(blackoutErrorMs.median)} median, ${duration(blackoutErrorMs.p90)} 90th percentile; ${percent(withinRange.blackout)} within the forecast range`,
    `${targets.medianTotalErrorAtMost15Percent ? 'reached' : 'missed '}  median error of total time at most 15 %`,
    `${targets.nineInTenTotalsWithinRange ? 'reached' : 'missed '}  nine in ten total times within the forecast range`,
  ].join('\n');
}
