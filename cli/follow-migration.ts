import { FINAL_STATUSES, type MigrationView } from '../contract/api.ts';
import type { ApiClient } from './api-client.ts';
import { copyLine } from './migration-text.ts';
import { duration } from './text.ts';

export const getMigration = (api: ApiClient, id: string): Promise<MigrationView> =>
  api.call('GET', `/migrations/${encodeURIComponent(id)}`);

/** Polls a migration every `everyMs` until it has ended, and calls `onView` with each answer. */
export async function followMigration(
  api: ApiClient,
  migrationId: string,
  onView: (view: MigrationView) => void,
  everyMs = 500,
): Promise<MigrationView> {
  for (;;) {
    const view = await getMigration(api, migrationId);
    onView(view);
    if (FINAL_STATUSES.includes(view.status)) return view;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

const STATUS_TEXT: Record<MigrationView['status'], string> = {
  REQUESTED: 'requested',
  QUEUED: 'queued: waiting for a free slot on both hosts',
  PREFLIGHT: 'preflight: both hosts check that the VM can move',
  PRECOPY: 'pre-copy: copying memory while the guest runs',
  HELD: 'held: almost all memory is copied; waiting for a cutover slot',
  CUTOVER: 'cutover: handing the VM over',
  VERIFY: 'verify: checking both hosts',
  RECOVERING: 'recovery: finding out which host owns the VM',
  SUCCEEDED: 'done',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  FORECASTED: 'forecast made; nothing was moved',
  NEEDS_OPERATOR: 'needs an operator',
};

/** Prints each status once, and on a terminal a progress bar for the copy. */
export function progressPrinter(out: NodeJS.WriteStream): (view: MigrationView) => void {
  const began = Date.now();
  let lastStatus = '';
  let barShown = false;
  const clearBar = () => {
    if (barShown) out.write('\r\x1b[K');
    barShown = false;
  };
  return (view) => {
    if (view.status !== lastStatus) {
      clearBar();
      lastStatus = view.status;
      out.write(`  ${duration(Date.now() - began).padStart(8)}  ${STATUS_TEXT[view.status]}\n`);
    }
    const copying = view.progress !== undefined && (view.status === 'PRECOPY' || view.status === 'CUTOVER');
    if (copying && out.isTTY) {
      clearBar();
      out.write(`            ${copyLine(view.progress!)}`.slice(0, (out.columns ?? 100) - 1));
      barShown = true;
    }
  };
}
