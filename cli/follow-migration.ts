import { FINAL_STATUSES, type MigrationView } from '../contract/api.ts';
import type { ApiClient } from './api-client.ts';
import { copyLine, duration } from './text.ts';

export const getMigration = (api: ApiClient, id: string): Promise<MigrationView> =>
  api.call('GET', `/migrations/${encodeURIComponent(id)}`);

/** Follows a migration to its end, calling `seen` with every new look at it. */
export async function follow(
  api: ApiClient,
  migrationId: string,
  seen: (view: MigrationView) => void,
  everyMs = 500,
): Promise<MigrationView> {
  for (;;) {
    const view = await getMigration(api, migrationId);
    seen(view);
    if (FINAL_STATUSES.includes(view.status)) return view;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

const SAYS: Record<MigrationView['status'], string> = {
  REQUESTED: 'requested',
  QUEUED: 'waiting in line for a free slot',
  PREFLIGHT: 'preflight: both hosts check that the VM can move',
  PRECOPY: 'pre-copy: copying memory while the guest runs',
  HELD: 'held: copied but for the last, waiting for its turn to switch',
  CUTOVER: 'cutover: handing the VM over',
  VERIFY: 'verify: looking at both hosts',
  RECOVERING: 'recovery: finding out where the VM is',
  SUCCEEDED: 'done',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  FORECASTED: 'forecast made; nothing was moved',
  NEEDS_OPERATOR: 'needs an operator',
};

/** Prints each stage once, with a progress bar for the copy that is redrawn where there is a terminal. */
export function narrator(out: NodeJS.WriteStream): (view: MigrationView) => void {
  const began = Date.now();
  let last = '';
  let drawn = false;
  const clear = () => {
    if (drawn) out.write('\r\x1b[K');
    drawn = false;
  };
  return (view) => {
    if (view.status !== last) {
      clear();
      last = view.status;
      out.write(`  ${duration(Date.now() - began).padStart(8)}  ${SAYS[view.status]}\n`);
    }
    const copying = view.progress !== undefined && (view.status === 'PRECOPY' || view.status === 'CUTOVER');
    if (copying && out.isTTY) {
      clear();
      out.write(`            ${copyLine(view.progress!)}`.slice(0, (out.columns ?? 100) - 1));
      drawn = true;
    }
  };
}
