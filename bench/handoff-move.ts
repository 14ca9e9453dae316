import { followMigration } from '../cli/follow-migration.ts';
import type { MigrationView } from '../contract/api.ts';
import type { Policy } from '../contract/policy.ts';
import type { ManagedLab } from '../lab/managed-lab.ts';
import type { Move } from './bench-testbed.ts';

/** A migration that lasts this much longer than its deadline is cancelled. */
const GRACE_SECONDS = 30;

export interface HandoffOutcome {
  moved: boolean;
  view: MigrationView;
}

/** Migrates through the API. Rejects when the record does not name the guest's host. */
export async function handoffMove({ api }: ManagedLab, move: Move, policy: Partial<Policy>): Promise<HandoffOutcome> {
  const { guest: vm, address: guestAddress, from: source, to: destination } = move;
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
    body: { vm, source, destination, guestAddress, policy, reason: 'bench' },
  });
  const patience = Date.now() + ((policy.deadlineSeconds ?? 3_600) + GRACE_SECONDS) * 1000;
  let cancelled = false;
  const cancelWhenLate = () => {
    if (cancelled || Date.now() < patience) return;
    cancelled = true;
    // Refused when the handover is under way; the record has the outcome.
    api.call('POST', `/migrations/${migrationId}/cancel`).catch(() => {});
  };
  const view = await followMigration(api, migrationId, cancelWhenLate, 200);
  if (view.runsOn !== source && view.runsOn !== destination)
    throw new Error(`${migrationId} ended ${view.status}: ${JSON.stringify(view.failure)}`);
  return { moved: view.runsOn === destination, view };
}
