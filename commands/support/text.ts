import type { MigrationView } from '../../contract/api.ts';
import type { Progress } from '../../contract/facts.ts';

/** A duration in a person's units: 85 ms, 2.4 s, 3 min 20 s, 2 h 5 min. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
}

/** An amount of memory or data: 512 KiB, 16.6 MiB, 1.5 GiB. */
export function bytes(count: number): string {
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} KiB`;
  if (count < 1024 ** 3) return `${(count / 1024 ** 2).toFixed(1)} MiB`;
  return `${(count / 1024 ** 3).toFixed(1)} GiB`;
}

export function bar(progress: Progress, width = 24): string {
  const share = progress.bytesTotal === 0 ? 0 : 1 - progress.bytesRemaining / progress.bytesTotal;
  const filled = Math.max(0, Math.min(width, Math.round(share * width)));
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${Math.round(share * 100)} %`;
}

/** What a copy is doing, in one line. */
export function copyLine(progress: Progress): string {
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
  const lines = [
    `${view.migrationId}: ${view.vm}, ${view.source} -> ${view.destination}, ${view.status}`,
    ...(view.runsOn !== undefined ? [`  runs on     ${view.runsOn}`] : []),
    `  requested   ${view.requestedAt}${view.reason === undefined ? '' : ` (${view.reason})`}`,
    ...(view.result !== undefined ? [`  took        ${duration(view.result.totalMs)}`] : []),
    ...(view.result?.downtimeMs !== undefined
      ? [`  downtime    ${duration(view.result.downtimeMs)} (QEMU's figure)`]
      : []),
    ...(view.progress !== undefined && view.endedAt === undefined ? [`  copy        ${copyLine(view.progress)}`] : []),
    ...(view.failure !== undefined ? [`  failure     ${view.failure.code}: ${view.failure.message}`] : []),
    ...(view.caution !== undefined ? [`  caution     ${view.caution.code}: ${view.caution.message}`] : []),
    ...(view.checks ?? [])
      .filter((check) => !check.passed)
      .map(
        (check) =>
          `  check       ${check.role}: ${check.name} failed: ${check.found}${check.remedy ? ` (${check.remedy})` : ''}`,
      ),
    ...view.timeline.map((event) => `  ${event.at}  ${event.what}${eventDetail(event.detail)}`),
    `  console     ${view.consoleUrl}`,
  ];
  return lines.join('\n');
}

function eventDetail(detail: Record<string, unknown> | undefined): string {
  if (detail === undefined) return '';
  const words = ['host', 'action', 'code', 'message', 'why', 'status', 'runsOn'] as const;
  const said = words.flatMap((word) => (typeof detail[word] === 'string' ? [`${word} ${detail[word]}`] : []));
  return said.length === 0 ? '' : ` (${said.join(', ')})`;
}
