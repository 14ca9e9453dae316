import type { MigrationView } from '../contract/api.ts';
import type { Progress } from '../contract/facts.ts';
import type { Observation } from '../contract/forecast.ts';
import { bar, bytes, duration, span } from './text.ts';

/** The state of a copy in one line. Migrated disks are copied before the memory. */
export function copyLine(progress: Progress): string {
  const { disks, phase } = progress;
  if (disks !== undefined && phase === 'copying-disks') {
    return `${bar(disks)}  disks: ${bytes(disks.bytesProcessed)} copied, ${bytes(disks.bytesRemaining)} left`;
  }
  return `${bar(progress)}  ${bytes(progress.bytesProcessed)} sent, ${bytes(progress.bytesRemaining)} left, ${bytes(progress.bytesPerSecond)}/s, ${progress.phase}`;
}

/** A running or ended migration as text for people. */
export function describeMigration(view: MigrationView): string {
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

function tookLine({ totalMs, activeMs }: NonNullable<MigrationView['result']>): string {
  return `${duration(totalMs)}${activeMs === undefined ? '' : `, of which the copy was active ${duration(activeMs)}`}`;
}

const ofWhichDisks = ({ storage }: NonNullable<MigrationView['forecast']>): string =>
  storage === undefined ? '' : `, of which disks ${span(storage.ms, duration)}`;

/** The images of migrated disks, which stay on the source. */
function imagesLines({ result }: MigrationView): string[] {
  const left = result?.imagesLeft;
  return left === undefined
    ? []
    : [`  images      of migrated disks; left on ${left.host}, yours to delete: ${left.paths.join(', ')}`];
}

/** The blackout as each host measured it from outside the guest. */
function blackoutLines({ result, source, destination }: MigrationView): string[] {
  const { blackout } = result ?? {};
  const byHost = [
    [source, blackout?.source],
    [destination, blackout?.destination],
  ] as const;
  return byHost.flatMap(([host, observation]) =>
    observation === undefined ? [] : [`  blackout    ${blackoutLine(observation, host)}`],
  );
}

function blackoutLine(seen: Observation, host: string): string {
  const announced = seen.announcedAgain ? '; announced to the network again' : '';
  if (!seen.observed) return `not observed by ${host}: ${seen.why}${announced}`;
  // Gaps as long as this occur at other times too, so the figure is not to be relied on.
  const noise = seen.elsewhereMs > seen.intervalMs ? `, gaps elsewhere of up to ${duration(seen.elsewhereMs)}` : '';
  return `${duration(seen.blackoutMs)} as seen from outside by ${host} (asked every ${duration(seen.intervalMs)}${noise})${announced}`;
}

/** A refusal by preflight shows its checks, a line each, instead of one long message. */
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
  const fields = ['host', 'action', 'code', 'message', 'why', 'status', 'runsOn'] as const;
  const parts = fields.flatMap((field) => (typeof detail[field] === 'string' ? [`${field} ${detail[field]}`] : []));
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
