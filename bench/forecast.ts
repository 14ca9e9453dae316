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

/** What is wished for in turn: how much each guest dirties, as a part or multiple of the bandwidth, and the policy. */
const WISHES: readonly { rate: number; policy: Partial<Policy> }[] = [
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
  /** Absent where the guest was not moved, as a policy that can't be kept has it; then `why` says so. */
  held?: Miss;
  why?: string;
  method?: string;
  convergence?: string;
}

export interface ForecastBench {
  bench: 'forecast';
  /** Of the outcome: 0.1 is a tenth of it, too much or too little. */
  totalError: { median: number; p90: number };
  blackoutErrorMs: { median: number; p90: number };
  /** Which share of the outcomes lay in the range that was stated. */
  withinRange: { total: number; blackout: number };
  targets: { medianTotalErrorAtMost15Percent: boolean; nineInTenTotalsWithinRange: boolean };
  linkMiBps: number;
  /** That were held against their forecast; `refused` and `failed` have no outcome to hold. */
  migrations: number;
  refused: number;
  failed: number;
  cases: ForecastCase[];
}

/**
 * Forecast against outcome, both from the records of migrations through the API: guests of different sizes and ways, there and back
 * over a link held at one rate. Refused migrations are told and counted apart, and made up for.
 */
export function forecastBench(runs: number, say: (line: string) => void): Promise<ForecastBench> {
  say(`about ${duration(runs * 24_000)} for ${runs} migrations`);
  return BenchTestbed.with(LINK_MIBPS, async (stand) => {
    const cases: ForecastCase[] = [];
    const perGuest = Math.ceil(runs / GUESTS.length);
    for (const guest of GUESTS) {
      await stand.newGuest(guest);
      let held = 0;
      // A wish that is refused is passed over; once all have been refused twice there is no point in going on.
      for (let turn = 0; held < perGuest && turn < 2 * WISHES.length + perGuest; turn++) {
        const each = await oneCase(stand, guest.name, WISHES[turn % WISHES.length]!);
        cases.push(each);
        if (each.held !== undefined) held += 1;
        say(`${guest.name.padEnd(6)} at ${each.rate} x ${LINK_MIBPS} MiB/s: ${caseLine(each)}`);
      }
      await stand.requireWholeSetIntact();
    }
    const all = cases.flatMap((each) => (each.held === undefined ? [] : [each.held]));
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
  stand: BenchTestbed,
  guest: string,
  { rate, policy }: (typeof WISHES)[number],
): Promise<ForecastCase> {
  await stand.ready(stand.nextMove.from, Math.round(rate * LINK_MIBPS));
  const world = await stand.world();
  const wish = { deadlineSeconds: DEADLINE_SECONDS, ...policy };
  const { view } = await stand.moved((move) => handoffMove(world, move, wish));
  const moved = view.runsOn === view.destination;
  if (moved && view.forecast === undefined) throw new Error(`${view.migrationId} was moved without a forecast`);
  const held = moved ? missOf(view) : undefined;
  return {
    guest,
    rate,
    policy,
    status: view.status,
    ...(held !== undefined && { held }),
    ...(view.failure !== undefined && { why: `${view.failure.code}: ${view.failure.message}` }),
    ...(view.forecast !== undefined && { method: view.forecast.plan.method, convergence: view.forecast.convergence }),
  };
}

function caseLine({ held, why, status, method }: ForecastCase): string {
  if (held === undefined) return why ?? `${status}, without a forecast or an outcome`;
  const { time, blackout } = held;
  const part = -Math.round(time.error * 100);
  const sign = part > 0 ? '+' : '';
  const took = `${duration(time.forecast.expected)} forecast, ${duration(time.outcome)} taken (${sign}${part} %)`;
  const dark = blackout && `${duration(blackout.forecast.expected)} and ${duration(blackout.outcome)}`;
  return `${method}: ${took}${time.within ? '' : ', OUT OF RANGE'}; blackout ${dark ?? 'not observed'}`;
}

export function forecastTable(result: ForecastBench): string {
  const { cases, totalError, blackoutErrorMs, withinRange, targets, migrations, refused, failed } = result;
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const rows = cases.map(({ guest, rate, method = '-', held, why, status }) => [
    guest,
    `${rate}`,
    method,
    ...(held === undefined
      ? [why?.split(':')[0] ?? status]
      : [
          duration(held.time.forecast.expected),
          `${duration(held.time.forecast.low)} to ${duration(held.time.forecast.high)}`,
          duration(held.time.outcome),
          held.time.within ? '' : 'out of range',
          ...(held.blackout === undefined
            ? ['-', 'not observed']
            : [duration(held.blackout.forecast.expected), duration(held.blackout.outcome)]),
        ]),
  ]);
  return [
    table([['GUEST', 'RATE', 'METHOD', 'FORECAST', 'RANGE', 'TAKEN', '', 'BLACKOUT FORECAST', 'BLACKOUT'], ...rows]),
    '',
    `${migrations} migrations held against their forecast (${refused} refused by their policy, ${failed} failed)`,
    `total time: error ${percent(totalError.median)} in the middle, ${percent(totalError.p90)} for nine in ten; ${percent(withinRange.total)} within the stated range`,
    `blackout: error ${duration(blackoutErrorMs.median)} in the middle, ${duration(blackoutErrorMs.p90)} for nine in ten; ${percent(withinRange.blackout)} within the stated range`,
    `${targets.medianTotalErrorAtMost15Percent ? 'reached' : 'missed '}  error of total time at most 15 % in the middle`,
    `${targets.nineInTenTotalsWithinRange ? 'reached' : 'missed '}  nine in ten total times within the stated range`,
  ].join('\n');
}
