import { followMigration } from '../cli/follow-migration.ts';
import type { MigrationView } from '../contract/api.ts';
import type { Policy } from '../contract/policy.ts';
import type { ManagedLab } from '../lab/managed-lab.ts';
import type { Move } from './bench-testbed.ts';

/** A migration that goes on this much longer than its deadline is cancelled. */
const GRACE_SECONDS = 30;

export interface HandoffOutcome {
  moved: boolean;
  view: MigrationView;
}

/** Migrates through the API. Rejects where the record does not say where the guest is. */
export async function handoffMove({ api }: ManagedLab, move: Move, policy: Partial<Policy>): Promise<HandoffOutcome> {
  const { guest: vm, address: guestAddress, from: source, to: destination } = move;
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
    body: { vm, source, destination, guestAddress, policy, reason: 'bench' },
  });
  const patience = Date.now() + ((policy.deadlineSeconds ?? 3_600) + GRACE_SECONDS) * 1000;
  let cancelled = false;
  const seen = () => {
    if (cancelled || Date.now() < patience) return;
    cancelled = true;
    // Refused when it is handed over just then; its record says how it ended.
    api.call('POST', `/migrations/${migrationId}/cancel`).catch(() => {});
  };
  const view = await followMigration(api, migrationId, seen, 200);
  if (view.runsOn !== source && view.runsOn !== destination)
    throw new Error(`${migrationId} ended ${view.status}: ${JSON.stringify(view.failure)}`);
  return { moved: view.runsOn === destination, view };
}
