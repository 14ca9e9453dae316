import type { MigrationView } from '../../contract/api.ts';
import type { Range } from '../../contract/forecast.ts';
import { median, quantile } from './statistics.ts';

/** What was forecast of a migration and what came of it, in ms. */
export interface Held {
  total: { forecast: Range; outcome: number };
  blackout: { forecast: Range; outcome: number; from: BlackoutSource };
}

/** `observed`: the record's longer one of both hosts'; `qemu`: nobody could look, so QEMU's downtime stands in for it. */
export type BlackoutSource = 'observed' | 'qemu';

/** Undefined when the record lacks one of the two. */
export function heldAgainst({ forecast, result }: Pick<MigrationView, 'forecast' | 'result'>): Held | undefined {
  if (forecast === undefined || result?.workedMs === undefined) return undefined;
  const blackout = blackoutOf(result);
  if (blackout === undefined) return undefined;
  return {
    total: { forecast: forecast.totalMs, outcome: result.workedMs },
    blackout: { forecast: forecast.blackoutMs, ...blackout },
  };
}

function blackoutOf(
  result: NonNullable<MigrationView['result']>,
): { outcome: number; from: BlackoutSource } | undefined {
  const { source, destination } = result.blackout ?? {};
  const seen = [source, destination].flatMap((each) => (each?.observed ? [each.blackoutMs] : []));
  if (seen.length > 0) return { outcome: Math.max(...seen), from: 'observed' };
  return result.downtimeMs === undefined ? undefined : { outcome: result.downtimeMs, from: 'qemu' };
}

export interface ForecastErrors {
  /** Of the outcome: 0.1 is a tenth of it, too much or too little. */
  totalError: { median: number; p90: number };
  blackoutErrorMs: { median: number; p90: number };
  /** Which share of the outcomes lay in the range that was stated. */
  withinRange: { total: number; blackout: number };
  targets: { medianTotalErrorAtMost15Percent: boolean; nineInTenTotalsWithinRange: boolean };
}

export function forecastErrors(all: readonly Held[]): ForecastErrors {
  const totals = all.map(({ total }) => Math.abs(total.forecast.expected - total.outcome) / total.outcome);
  const blackouts = all.map(({ blackout }) => Math.abs(blackout.forecast.expected - blackout.outcome));
  const share = (of: (held: Held) => boolean) => all.filter(of).length / all.length;
  const totalError = { median: median(totals), p90: quantile(totals, 0.9) };
  const withinRange = {
    total: share(({ total }) => isWithin(total)),
    blackout: share(({ blackout }) => isWithin(blackout)),
  };
  return {
    totalError,
    blackoutErrorMs: { median: median(blackouts), p90: quantile(blackouts, 0.9) },
    withinRange,
    targets: {
      medianTotalErrorAtMost15Percent: totalError.median <= 0.15,
      nineInTenTotalsWithinRange: withinRange.total >= 0.9,
    },
  };
}

export const isWithin = ({ forecast, outcome }: { forecast: Range; outcome: number }): boolean =>
  outcome >= forecast.low && outcome <= forecast.high;
