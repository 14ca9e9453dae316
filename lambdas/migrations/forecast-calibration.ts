import { median, quantile } from '../../common/statistics.ts';
import type { Calibration, MigrationView } from '../../contract/api.ts';
import type { Range } from '../../contract/forecast.ts';

/** A forecast and the measured outcome, in ms, and whether the outcome is within the forecast range. */
export interface Comparison {
  forecast: Range;
  outcome: number;
  within: boolean;
}

/** The error of a migration's forecast. */
export interface Miss {
  method: string;
  /** (outcome - forecast) / outcome. */
  time: Comparison & { error: number };
  /** outcome - forecast, in ms; absent where the blackout was not measured from outside. */
  blackout?: Comparison & { errorMs: number };
}

/** Undefined where there is no forecast, or no outcome to compare it with. */
export function missOf({ forecast, result }: Pick<MigrationView, 'forecast' | 'result'>): Miss | undefined {
  if (forecast === undefined || result?.activeMs === undefined) return undefined;
  const { totalMs, blackoutMs, plan } = forecast;
  const against = (range: Range, outcome: number): Comparison => ({
    forecast: range,
    outcome,
    within: outcome >= range.low && outcome <= range.high,
  });
  const seen = blackoutOf(result.blackout);
  return {
    // The method that was used, not the planned one: a copy may have had to fall back on post-copy.
    method: result.postCopy === true ? 'post-copy' : plan.method,
    time: {
      ...against(totalMs, result.activeMs),
      error: (result.activeMs - totalMs.expected) / Math.max(1, result.activeMs),
    },
    ...(seen !== undefined && {
      blackout: { ...against(blackoutMs, seen), errorMs: seen - blackoutMs.expected },
    }),
  };
}

/** The longer of what the two hosts measured: users are not only on one side. */
function blackoutOf(seen: NonNullable<MigrationView['result']>['blackout']): number | undefined {
  const observed = [seen?.source, seen?.destination].flatMap((each) => (each?.observed ? [each.blackoutMs] : []));
  return observed.length === 0 ? undefined : Math.max(...observed);
}

/** From the absolute values of the errors. */
export function calibrationOf(misses: readonly Miss[]): Calibration {
  const part = (of: readonly Miss[]) => ({
    migrations: of.length,
    ...(of.length > 0 && {
      time: summary(of.map(({ time }) => ({ error: Math.abs(time.error), within: time.within }))),
    }),
    ...blackoutPart(of.flatMap(({ blackout }) => blackout ?? [])),
  });
  const methods = [...Map.groupBy(misses, ({ method }) => method)];
  return { ...part(misses), byMethod: Object.fromEntries(methods.map(([method, of]) => [method, part(of)])) };
}

function blackoutPart(seen: readonly NonNullable<Miss['blackout']>[]) {
  if (seen.length === 0) return {};
  const { median, p90, ...rest } = summary(seen.map(({ errorMs, within }) => ({ error: Math.abs(errorMs), within })));
  return { blackout: { ...rest, medianMs: median, p90Ms: p90 } };
}

function summary(of: readonly { error: number; within: boolean }[]) {
  const errors = of.map(({ error }) => error);
  return {
    observed: of.length,
    median: median(errors)!,
    p90: quantile(errors, 0.9)!,
    within: of.filter(({ within }) => within).length / of.length,
  };
}
