import type { MigrationView } from '../contract/api.ts';
import type { Progress } from '../contract/facts.ts';
import type { Observation, Range } from '../contract/forecast.ts';

/** A duration in a person's units: 85 ms, 2.4 s, 3 min 20 s, 2 h 5 min. */
export function duration(ms: number): string {
  // Rounded to what is shown before it is put into words, or there would be minutes of 60 s.
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`;
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(ms / 60_000);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An amount of memory or data: 512 KiB, 16.6 MiB, 1.5 GiB. */
export function bytes(count: number): string {
  const kib = Math.round(count / 1024);
  if (kib < 1024) return `${kib} KiB`;
  const mib = (count / 1024 ** 2).toFixed(1);
  return Number(mib) < 1024 ? `${mib} MiB` : `${(count / 1024 ** 3).toFixed(1)} GiB`;
}

export function bar(progress: Pick<Progress, 'bytesTotal' | 'bytesRemaining'>, width = 24): string {
  const copied = progress.bytesTotal === 0 ? 0 : 1 - progress.bytesRemaining / progress.bytesTotal;
  // QEMU may count more left than there is.
  const share = Math.max(0, Math.min(1, copied));
  const filled = Math.round(share * width);
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${Math.round(share * 100)} %`;
}

/** What a copy is doing, in one line. Disks that are copied along come before the memory. */
export function copyLine(progress: Progress): string {
  const { disks, phase } = progress;
  if (disks !== undefined && phase === 'copying-disks') {
    return `${bar(disks)}  disks: ${bytes(disks.bytesProcessed)} copied, ${bytes(disks.bytesRemaining)} left`;
  }
  return `${bar(progress)}  ${bytes(progress.bytesProcessed)} sent, ${bytes(progress.bytesRemaining)} left, ${bytes(progress.bytesPerSecond)}/s, ${progress.phase}`;
}

/** Rows of cells in aligned columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A finished or running migration, for a person. */
export function describe(view: MigrationView): string {
  const failed = failedChecks(view);
  const { forecast } = view;
  const lines = [
    `${view.migrationId}: ${view.vm}, ${view.source} -> ${view.destination}, ${view.status}`,
    ...(view.runsOn !== undefined ? [`  runs on     ${view.runsOn}`] : []),
    `  requested   ${view.requestedAt}${view.reason === undefined ? '' : ` (${view.reason})`}`,
    ...(forecast === undefined
      ? []
      : [
          `  forecast    ${span(forecast.totalMs, duration)}${ofWhichDisks(forecast)}, blackout ${span(forecast.blackoutMs, duration)}, ${forecast.plan.method}`,
        ]),
    ...(view.result !== undefined ? [`  took        ${tookLine(view.result)}`] : []),
    ...(view.result?.downtimeMs !== undefined
      ? [`  downtime    ${duration(view.result.downtimeMs)} (QEMU's figure)`]
      : []),
    ...blackoutLines(view),
    ...imagesLines(view),
    ...(view.progress !== undefined && view.endedAt === undefined ? [`  copy        ${copyLine(view.progress)}`] : []),
    ...(view.failure !== undefined ? [`  failure     ${failureLine(view.failure, failed.length)}`] : []),
    ...(view.warning !== undefined ? [`  warning     ${view.warning.code}: ${view.warning.message}`] : []),
    ...failed.map((line) => `  check       ${line}`),
    ...view.timeline.map((entry) => `  ${entry.at}  ${entry.event}${eventDetail(entry.detail)}`),
    `  console     ${view.consoleUrl}`,
  ];
  return lines.join('\n');
}

/** A forecast value with its range. */
export function span({ expected, low, high }: Range, say: (value: number) => string): string {
  return `${say(expected)} (${say(low)} to ${say(high)})`;
}

function tookLine({ totalMs, activeMs }: NonNullable<MigrationView['result']>): string {
  return `${duration(totalMs)}${activeMs === undefined ? '' : `, of which the copy worked ${duration(activeMs)}`}`;
}

const ofWhichDisks = ({ storage }: NonNullable<MigrationView['forecast']>): string =>
  storage === undefined ? '' : `, of which disks ${span(storage.ms, duration)}`;

/** Of disks copied along, the images that stay on the source. */
function imagesLines({ result }: MigrationView): string[] {
  const left = result?.imagesLeft;
  return left === undefined
    ? []
    : [`  images      copied along; left on ${left.host}, for you to delete: ${left.paths.join(', ')}`];
}

/** What each host saw of the guest from outside. */
function blackoutLines({ result, source, destination }: MigrationView): string[] {
  const { blackout } = result ?? {};
  const seen = [
    [source, blackout?.source],
    [destination, blackout?.destination],
  ] as const;
  return seen.flatMap(([host, observation]) =>
    observation === undefined ? [] : [`  blackout    ${blackoutLine(observation, host)}`],
  );
}

function blackoutLine(seen: Observation, host: string): string {
  const again = seen.announcedAgain ? '; announced to the network again' : '';
  if (!seen.observed) return `not observed by ${host}: ${seen.why}${again}`;
  // A figure within what the host misses at any other time too is not one to rely on.
  const shaky = seen.elsewhereMs > seen.intervalMs ? `, gaps elsewhere of up to ${duration(seen.elsewhereMs)}` : '';
  return `${duration(seen.blackoutMs)} as seen from outside by ${host} (asked every ${duration(seen.intervalMs)}${shaky})${again}`;
}

/** A refusal by preflight is told by its checks, a line each. */
function failureLine({ code, message }: { code: string; message: string }, failedChecks: number): string {
  return (code === 'PreflightFailed' || code === 'PolicyNotMet') && failedChecks > 0
    ? `${code}; the VM was not touched`
    : `${code}: ${message}`;
}

/** Checks of one host that failed for the same reason share a line: a VM that is not there fails nearly all of them. */
export function failedChecks({ checks = [] }: MigrationView): string[] {
  const failed = checks.filter(({ passed }) => !passed);
  const alike = Map.groupBy(failed, ({ role, found, remedy }) => JSON.stringify([role, found, remedy]));
  return [...alike.values()].map((group) => {
    const { role, found, remedy } = group[0]!;
    const names = group.map(({ name }) => name).join(', ');
    return `${role}: ${names}: ${found}${remedy === undefined ? '' : ` (${remedy})`}`;
  });
}

function eventDetail(detail: Record<string, unknown> | undefined): string {
  if (detail === undefined) return '';
  const words = ['host', 'action', 'code', 'message', 'why', 'status', 'runsOn'] as const;
  const said = words.flatMap((word) => (typeof detail[word] === 'string' ? [`${word} ${detail[word]}`] : []));
  return said.length === 0 ? '' : ` (${said.join(', ')})`;
}
