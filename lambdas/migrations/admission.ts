import type { HostItem } from '../platform/control-table.ts';

/**
 * Who waits longest goes first. A waiting migration shows that it is still there by asking again; one that has not asked
 * for this long (its execution was stopped, say) no longer stands in anybody's way.
 */
export const LINE_FORGETS_AFTER_MS = 60_000;
/** How long a migration in line waits before it asks again. */
export const ASK_AGAIN_SECONDS = 5;

export type Side = 'outgoing' | 'incoming';
export type Admission = { admit: true } | { admit: false; because: string };

/** May this migration take a slot on this side of this host now? */
function sideAdmits(host: HostItem, side: Side, migrationId: string, now: number): Admission {
  const taken = host[side] ?? new Set<string>();
  if (taken.has(migrationId)) return { admit: true };
  const limit = host.limits[side];
  const mine = host.line[migrationId]?.since ?? now;
  const ahead = Object.entries(host.line).filter(
    ([id, place]) =>
      id !== migrationId &&
      !taken.has(id) &&
      now - place.seen <= LINE_FORGETS_AFTER_MS &&
      (place.since < mine || (place.since === mine && id < migrationId)),
  ).length;
  if (taken.size + ahead < limit) return { admit: true };
  return {
    admit: false,
    because: `${host.sk} has ${taken.size} of ${limit} ${side} slots taken${ahead > 0 ? ` and ${ahead} waiting before this one` : ''}`,
  };
}

/** Both sides must admit; the first that does not says why. */
export function admission(source: HostItem, destination: HostItem, migrationId: string, now: number): Admission {
  const outgoing = sideAdmits(source, 'outgoing', migrationId, now);
  return outgoing.admit ? sideAdmits(destination, 'incoming', migrationId, now) : outgoing;
}
