import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { CONTROL, type EventItem } from './control-table.ts';
import { dynamo, isoNow, uuid } from './surroundings.ts';

/** The item that adds one line to a migration's timeline, for a transaction of the caller's. */
export function eventItem(migrationId: string, what: string, detail?: Record<string, unknown>): EventItem {
  const at = isoNow();
  // The suffix keeps two events of one millisecond apart.
  return {
    pk: `MIGRATION#${migrationId}`,
    sk: `EVENT#${at}#${uuid().slice(0, 8)}`,
    at,
    what,
    ...(detail && { detail }),
  };
}

export async function addEvent(migrationId: string, what: string, detail?: Record<string, unknown>): Promise<void> {
  await dynamo.send(new PutCommand({ TableName: CONTROL, Item: eventItem(migrationId, what, detail) }));
}
