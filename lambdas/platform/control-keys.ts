/**
 * The keys of the Control table: each is composed here, and parsed here. control-table.ts describes the items.
 *
 * | pk                 | sk                    | item               |
 * |--------------------|-----------------------|--------------------|
 * | `HOSTS`            | host id               | HostItem           |
 * | `VM#<name>`        | `LOCK`                | LockItem           |
 * | `MIGRATION#<id>`   | `RECORD`              | MigrationItem      |
 * | `MIGRATION#<id>`   | `HOST#<host id>`      | MigrationHostItem  |
 * | `MIGRATION#<id>`   | `EVENT#<time>#<name>` | EventItem          |
 * | `REQUESTS#<id>`    | request id            | RequestItem        |
 * | `LINK#<host id>`   | host id               | LinkItem           |
 * | `KEY#<key>`        | `KEY`                 | KeyItem            |
 * | `CLEANUPS`         | `<host id>#<VM>`      | PendingCleanupItem |
 *
 * Host ids and migration ids have no `#` (contract/names.ts), nor has a VM's name.
 */
export const HOSTS = 'HOSTS';
export const CLEANUPS = 'CLEANUPS';

const PREFIXES = {
  vm: 'VM#',
  migration: 'MIGRATION#',
  host: 'HOST#',
  event: 'EVENT#',
  requests: 'REQUESTS#',
  link: 'LINK#',
  key: 'KEY#',
} as const;

/** What the sort keys of a timeline's events begin with, for a query. */
export const EVENT_PREFIX = PREFIXES.event;

export const hostKey = (hostId: string) => ({ pk: 'HOSTS' as const, sk: hostId });
export const lockKey = (vm: string) => ({ pk: `${PREFIXES.vm}${vm}`, sk: 'LOCK' as const });
export const migrationKey = (migrationId: string) => ({
  pk: `${PREFIXES.migration}${migrationId}`,
  sk: 'RECORD' as const,
});
export const migrationHostKey = (migrationId: string, hostId: string) => ({
  pk: `${PREFIXES.migration}${migrationId}`,
  sk: `${PREFIXES.host}${hostId}`,
});
/** Events are sorted by their ISO time. `name` keeps two events of one millisecond apart. */
export const eventKey = (migrationId: string, at: string, name: string) => ({
  pk: `${PREFIXES.migration}${migrationId}`,
  sk: `${PREFIXES.event}${at}#${name}`,
});
export const requestKey = (migrationId: string, requestId: string) => ({
  pk: `${PREFIXES.requests}${migrationId}`,
  sk: requestId,
});
export const linkKey = (source: string, destination: string) => ({ pk: `${PREFIXES.link}${source}`, sk: destination });
export const idempotencyKey = (key: string) => ({ pk: `${PREFIXES.key}${key}`, sk: 'KEY' as const });
export const pendingCleanupKey = (hostId: string, vm: string) => ({ pk: 'CLEANUPS' as const, sk: `${hostId}#${vm}` });

/** The partition of a migration's requests. */
export const requestsOf = (migrationId: string): string => `${PREFIXES.requests}${migrationId}`;

/** The VM of a lock's partition. Fails when it is another item's. */
export const vmOfLock = (pk: string): string => without(PREFIXES.vm, pk);
/** The migration of a record's, a host link's or an event's partition. Fails when it is another item's. */
export const migrationIdOf = (pk: string): string => without(PREFIXES.migration, pk);

function without(prefix: string, key: string): string {
  if (!key.startsWith(prefix)) throw new Error(`"${key}" does not begin with ${prefix}`);
  return key.slice(prefix.length);
}
