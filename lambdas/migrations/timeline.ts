import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { CONTROL, type EventItem } from '../platform/control-table.ts';
import { dynamo, isoNow, uuid } from '../platform/runtime.ts';

/** The item that adds one line to a migration's timeline, for a transaction of the caller's. */
export function eventItem(migrationId: string, event: string, detail?: Record<string, unknown>): EventItem {
  const at = isoNow();
  // The suffix keeps two events of one millisecond apart.
  return {
    pk: `MIGRATION#${migrationId}`,
    sk: `EVENT#${at}#${uuid().slice(0, 8)}`,
    at,
    event,
    ...(detail && { detail }),
  };
}

/** An event that a host tells of, at the time it says: the same name and time is the same event, however often it is put. */
export function decisionItem(
  migrationId: string,
  { name, at, event, detail }: { name: string; at: string; event: string; detail: Record<string, unknown> },
): EventItem {
  return { pk: `MIGRATION#${migrationId}`, sk: `EVENT#${at}#${name}`, at, event, detail };
}

export async function putEvent(item: EventItem): Promise<void> {
  await dynamo.send(new PutCommand({ TableName: CONTROL, Item: item }));
}

export async function addEvent(migrationId: string, event: string, detail?: Record<string, unknown>): Promise<void> {
  await putEvent(eventItem(migrationId, event, detail));
}
