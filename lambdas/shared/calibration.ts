import type { Calibration, MigrationView } from '../../contract/api.ts';

/** How far a migration's outcome was from its forecast; undefined where there is no forecast, or nothing to hold it against. */
export interface Miss {
  method: string;
  /** (outcome - forecast) / outcome. */
  time: { error: number; within: boolean };
  /** outcome - forecast, in ms; absent where nobody saw the blackout from outside. */
  blackout?: { errorMs: number; within: boolean };
}

export function missOf({ forecast, result }: Pick<MigrationView, 'forecast' | 'result'>): Miss | undefined {
  if (forecast === undefined || result?.workedMs === undefined) return undefined;
  const { totalMs, blackoutMs, plan } = forecast;
  const within = (value: number, { low, high }: { low: number; high: number }) => value >= low && value <= high;
  const seen = blackoutOf(result.blackout);
  return {
    // What was done, not what was planned: a copy may have had to fall back on post-copy.
    method: result.postCopy === true ? 'post-copy' : plan.method,
    time: {
      error: (result.workedMs - totalMs.expected) / Math.max(1, result.workedMs),
      within: within(result.workedMs, totalMs),
    },
    ...(seen !== undefined && {
      blackout: { errorMs: seen - blackoutMs.expected, within: within(seen, blackoutMs) },
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
  const errors = of.map(({ error }) => error).sort((a, b) => a - b);
  return {
    observed: of.length,
    median: quantile(errors, 0.5),
    p90: quantile(errors, 0.9),
    within: of.filter(({ within }) => within).length / of.length,
  };
}

/** Of sorted values; between two of them, in proportion. */
function quantile(sorted: readonly number[], q: number): number {
  const place = (sorted.length - 1) * q;
  const below = sorted[Math.floor(place)]!;
  return below + (sorted[Math.ceil(place)]! - below) * (place - Math.floor(place));
}
