import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { BatchGetCommand, DeleteCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Role } from '../../contract/names.ts';
import { CONTROL, type MigrationItem, type PendingCleanupItem, pendingCleanupKey } from '../platform/control-table.ts';
import { dynamo, isoNow, now } from '../platform/runtime.ts';

/** A host that answers SSM and yet gives no evidence is asked less and less often. */
const LOOK_AGAIN = { firstMs: 5 * 60_000, mostMs: 24 * 3_600_000 };
const PAGE = 100;

type Wanted = Pick<MigrationItem, 'migrationId' | 'vm' | 'source' | 'destination'>;

/** A new flag, for the write that settles the migration. It is due at once. */
export function newPendingCleanup(record: Wanted, role: Role, owner: Role): PendingCleanupItem {
  const hostId = record[role];
  return {
    ...pendingCleanupKey(hostId, record.vm),
    hostId,
    vm: record.vm,
    migrationId: record.migrationId,
    role,
    owner,
    since: isoNow(),
    looks: 0,
    lookAgainAt: now(),
  };
}

export async function listPendingCleanups(): Promise<PendingCleanupItem[]> {
  const pendingCleanups: PendingCleanupItem[] = [];
  let from: Record<string, unknown> | undefined;
  do {
    const page = await dynamo.send(
      new QueryCommand({
        TableName: CONTROL,
        KeyConditionExpression: 'pk = :flags',
        ExpressionAttributeValues: { ':flags': 'CLEANUPS' },
        ConsistentRead: true,
        Limit: PAGE,
        ...(from && { ExclusiveStartKey: from }),
      }),
    );
    pendingCleanups.push(...((page.Items ?? []) as PendingCleanupItem[]));
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return pendingCleanups;
}

/** The flags that this migration, and no newer one, has put on its hosts. */
export async function pendingCleanupsOf({
  migrationId,
  vm,
  source,
  destination,
}: Wanted): Promise<PendingCleanupItem[]> {
  const Keys = [pendingCleanupKey(source, vm), pendingCleanupKey(destination, vm)];
  const { Responses } = await dynamo.send(
    new BatchGetCommand({ RequestItems: { [CONTROL]: { Keys, ConsistentRead: true } } }),
  );
  return ((Responses?.[CONTROL] ?? []) as PendingCleanupItem[]).filter(
    (pendingCleanup) => pendingCleanup.migrationId === migrationId,
  );
}

export async function removePendingCleanup({ hostId, vm, migrationId }: PendingCleanupItem): Promise<void> {
  await unlessAnothers(
    dynamo.send(
      new DeleteCommand({
        TableName: CONTROL,
        Key: pendingCleanupKey(hostId, vm),
        ConditionExpression: 'migrationId = :id',
        ExpressionAttributeValues: { ':id': migrationId },
      }),
    ),
  );
}

/** It was looked at in vain: it stays, with the reason where a person has to put it right, and is looked at again later. */
export async function postponePendingCleanup(
  { hostId, vm, migrationId, looks }: PendingCleanupItem,
  why?: string,
): Promise<void> {
  const wait = Math.min(LOOK_AGAIN.firstMs * 2 ** looks, LOOK_AGAIN.mostMs);
  await unlessAnothers(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: pendingCleanupKey(hostId, vm),
        UpdateExpression: `SET looks = :looks, lookAgainAt = :again ${why === undefined ? 'REMOVE why' : ', why = :why'}`,
        ConditionExpression: 'migrationId = :id',
        ExpressionAttributeValues: {
          ':looks': looks + 1,
          ':again': now() + wait,
          ':id': migrationId,
          ...(why !== undefined && { ':why': why }),
        },
      }),
    ),
  );
}

async function unlessAnothers(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
