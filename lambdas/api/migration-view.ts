import type { MigrationView } from '../../contract/api.ts';
import { resultOf } from '../migrations/migration-record.ts';
import type { EventItem, MigrationItem } from '../platform/control-table.ts';
import { consoleUrl } from '../platform/execution-names.ts';

/** A migration as the API shows it. */
export function viewOf(record: MigrationItem, events: readonly EventItem[]): MigrationView {
  const {
    pk: _pk,
    sk: _sk,
    entity: _entity,
    checks,
    admittedAt: _admitted,
    cancelRequestedAt: _cancel,
    guest: _guest,
    destinationBlackout: _destinationBlackout,
    ...shown
  } = record;
  const result = resultOf(record);
  return {
    ...shown,
    ...(result && { result }),
    checks: Object.entries(checks ?? {}).flatMap(([role, list]) =>
      list.map((check) => ({ ...check, role: role === 'source' ? ('source' as const) : ('destination' as const) })),
    ),
    timeline: events.map(({ at, event, detail }) => ({ at, event, ...(detail && { detail }) })),
    consoleUrl: consoleUrl(record.executionArn),
  };
}
