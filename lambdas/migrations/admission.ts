import type { HostItem } from '../platform/control-table.ts';

/**
 * The migration that has waited longest goes first. A queued migration renews its queue position with every attempt; one that has not
 * done so for this long (its execution was stopped, say) no longer counts.
 */
export const QUEUE_POSITION_LASTS_MS = 60_000;
/** How long a queued migration waits before its next attempt. */
export const RETRY_SECONDS = 5;

export type Side = 'outgoing' | 'incoming';
export type Admission = { admit: true } | { admit: false; because: string };

/** May this migration take a slot on this side of this host now? */
function sideAdmits(host: HostItem, side: Side, migrationId: string, now: number): Admission {
  const taken = host[side] ?? new Set<string>();
  if (taken.has(migrationId)) return { admit: true };
  const limit = host.limits[side];
  const mine = host.queue[migrationId]?.since ?? now;
  const ahead = Object.entries(host.queue).filter(
    ([id, position]) =>
      id !== migrationId &&
      !taken.has(id) &&
      now - position.seen <= QUEUE_POSITION_LASTS_MS &&
      (position.since < mine || (position.since === mine && id < migrationId)),
  ).length;
  if (taken.size + ahead < limit) return { admit: true };
  return {
    admit: false,
    because: `${host.sk} has ${taken.size} of ${limit} ${side} slots taken${ahead > 0 ? ` and ${ahead} waiting before this one` : ''}`,
  };
}

/** Both sides must admit; the first that does not gives the reason. */
export function admission(source: HostItem, destination: HostItem, migrationId: string, now: number): Admission {
  const outgoing = sideAdmits(source, 'outgoing', migrationId, now);
  return outgoing.admit ? sideAdmits(destination, 'incoming', migrationId, now) : outgoing;
}
