import { median, quantile } from '../../common/statistics.ts';
import type { Calibration, MigrationView } from '../../contract/api.ts';
import type { Range } from '../../contract/forecast.ts';

/** A forecast and what came of it, in ms, and whether that is in the range that was stated. */
export interface Against {
  forecast: Range;
  outcome: number;
  within: boolean;
}

/** How far a migration's outcome was from its forecast. */
export interface Miss {
  method: string;
  /** (outcome - forecast) / outcome. */
  time: Against & { error: number };
  /** outcome - forecast, in ms; absent where nobody saw the blackout from outside. */
  blackout?: Against & { errorMs: number };
}

/** Undefined where there is no forecast, or nothing to hold it against. */
export function missOf({ forecast, result }: Pick<MigrationView, 'forecast' | 'result'>): Miss | undefined {
  if (forecast === undefined || result?.activeMs === undefined) return undefined;
  const { totalMs, blackoutMs, plan } = forecast;
  const against = (range: Range, outcome: number): Against => ({
    forecast: range,
    outcome,
    within: outcome >= range.low && outcome <= range.high,
  });
  const seen = blackoutOf(result.blackout);
  return {
    // What was done, not what was planned: a copy may have had to fall back on post-copy.
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

/** The longer of what the two hosts saw: users are not only on one side. */
function blackoutOf(seen: NonNullable<MigrationView['result']>['blackout']): number | undefined {
  const observed = [seen?.source, seen?.destination].flatMap((each) => (each?.observed ? [each.blackoutMs] : []));
  return observed.length === 0 ? undefined : Math.max(...observed);
}

/** Errors are taken without their sign. */
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
