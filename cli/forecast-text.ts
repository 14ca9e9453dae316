import { table } from '../common/text-table.ts';
import type { Calibration, MigrationView } from '../contract/api.ts';
import type { Forecast, Measurements, Plan } from '../contract/forecast.ts';
import { failedChecks } from './migration-text.ts';
import { bytes, duration, span } from './text.ts';

/** A forecast as text for people. */
export function describeForecast(view: MigrationView): string {
  const { vm, source, destination, status, measured, forecast, failure, policy } = view;
  const failed = failedChecks(view);
  return [
    `${vm}, ${source} -> ${destination}: ${failed.length > 0 ? 'would be refused' : status === 'FORECASTED' ? 'would be moved' : status}`,
    ...(forecast === undefined
      ? []
      : [
          `  time         ${span(forecast.totalMs, duration)}; the deadline is ${policy.deadlineSeconds} s`,
          `  blackout     ${span(forecast.blackoutMs, duration)}; the budget is ${policy.blackoutBudgetMs} ms`,
          `  bytes        ${span(forecast.bytes, bytes)}`,
          ...(forecast.storage === undefined ? [] : [storageLine(forecast.storage)]),
          `  converges    ${CONVERGES[forecast.convergence]}`,
          `  plan         ${planLine(forecast.plan)}`,
          `  why          ${forecast.why}`,
        ]),
    ...(measured === undefined ? [] : measurementLines(measured)),
    ...failed.map((line) => `  check        ${line}`),
    ...(failure !== undefined && failed.length === 0 ? [`  failure      ${failure.code}: ${failure.message}`] : []),
    `  console      ${view.consoleUrl}`,
  ].join('\n');
}

const CONVERGES: Record<Forecast['convergence'], string> = {
  likely: 'without help',
  'only-slowed': 'only with the guest throttled',
  'only-post-copy': 'only by post-copy',
  not: 'not',
};

const storageLine = ({ ms, bytes: copied }: NonNullable<Forecast['storage']>): string =>
  `  disks        migrated too: ${span(ms, duration)} of the time, ${span(copied, bytes)} of the bytes`;

function planLine({ method, throttle, postCopyAllowed, connections }: Plan): string {
  return [
    method,
    ...(throttle === undefined ? [] : [`throttle from ${throttle.initialPercent} % where needed`]),
    ...(postCopyAllowed && method !== 'post-copy' ? ['post-copy if needed'] : []),
    ...(connections > 1 ? [`${connections} connections`] : []),
  ].join(', ');
}

function measurementLines(measured: Measurements): string[] {
  const { dirtyBytesPerSecond, workingSetBytes, memoryBytes, residentBytes, cpuUse } = measured;
  const { linkBytesPerSecond, linkSource, linkAgeSeconds, roundTripMs } = measured;
  const age = linkSource === 'measured' ? 'measured now' : `known, ${duration(linkAgeSeconds * 1_000)} old`;
  return [
    `  guest        writes ${bytes(dirtyBytesPerSecond)}/s over about ${bytes(workingSetBytes)}, uses ${Math.round(cpuUse * 100)} % of its CPU`,
    `  memory       ${bytes(residentBytes)} backed of ${bytes(memoryBytes)}`,
    `  link         ${bytes(linkBytesPerSecond)}/s (${age}), round trip ${roundTripMs.toFixed(1)} ms`,
  ];
}

/** The calibration as text for people. */
export function describeCalibration({ byMethod, ...all }: Calibration): string {
  if (all.migrations === 0) return 'No migration with a forecast has succeeded yet.';
  const percent = (share: number | undefined) => (share === undefined ? '-' : `${Math.round(share * 100)} %`);
  const ms = (value: number | undefined) => (value === undefined ? '-' : duration(value));
  const row = (name: string, { migrations, time, blackout }: typeof all) => [
    name,
    `${migrations}`,
    percent(time?.median),
    percent(time?.p90),
    percent(time?.within),
    ms(blackout?.medianMs),
    ms(blackout?.p90Ms),
    percent(blackout?.within),
  ];
  return [
    'How far outcomes were from their forecasts (median, 90th percentile), and the share within the range forecast:',
    table([
      ['METHOD', 'MOVES', 'TIME', 'P90', 'WITHIN', 'BLACKOUT', 'P90', 'WITHIN'],
      row('all', all),
      ...Object.entries(byMethod).map(([method, part]) => row(method, part)),
    ]),
  ].join('\n');
}
