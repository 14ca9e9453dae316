import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { EVENT_PREFIX, eventKey, migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type EventItem } from '../platform/control-table.ts';
import { queryAll } from '../platform/dynamo.ts';
import { logger } from '../platform/log.ts';
import { dynamo, isoNow, uuid } from '../platform/runtime.ts';

/** The item that adds one event to a migration's timeline, for a transaction of the caller. */
export function eventItem(migrationId: string, event: string, detail?: Record<string, unknown>): EventItem {
  const at = isoNow();
  return { ...eventKey(migrationId, at, uuid().slice(0, 8)), at, event, ...(detail && { detail }) };
}

/** An event that a host reported, at the host's time. The same name and time is the same event, however often it is put. */
export function decisionItem(
  migrationId: string,
  { name, at, event, detail }: { name: string; at: string; event: string; detail: Record<string, unknown> },
): EventItem {
  return { ...eventKey(migrationId, at, name), at, event, detail };
}

export async function putEvent(item: EventItem): Promise<void> {
  await dynamo.send(new PutCommand({ TableName: CONTROL, Item: item }));
}

export async function addEvent(migrationId: string, event: string, detail?: Record<string, unknown>): Promise<void> {
  await putEvent(eventItem(migrationId, event, detail));
  logger.info(event, { migrationId, ...(detail && { detail }) });
}

/** All events of a migration, oldest first. */
export function timelineOf(migrationId: string): Promise<EventItem[]> {
  return queryAll<EventItem>({
    TableName: CONTROL,
    KeyConditionExpression: 'pk = :pk AND begins_with(sk, :event)',
    ExpressionAttributeValues: { ':pk': migrationKey(migrationId).pk, ':event': EVENT_PREFIX },
    ConsistentRead: true,
  });
}
