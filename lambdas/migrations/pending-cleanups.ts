import { DeleteCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Role } from '../../contract/names.ts';
import { CLEANUPS, pendingCleanupKey } from '../platform/control-keys.ts';
import { CONTROL, type MigrationItem, type PendingCleanupItem } from '../platform/control-table.ts';
import { getItems, queryAll, unlessConditionFails } from '../platform/dynamo.ts';
import { dynamo, isoNow, now } from '../platform/runtime.ts';

/** A host that is online for SSM and yet gives no evidence is asked less and less often. */
const PAUSE = { firstMs: 5 * 60_000, mostMs: 24 * 3_600_000 };

type OfMigration = Pick<MigrationItem, 'migrationId' | 'vm' | 'source' | 'destination'>;

/** For the write that settles the migration. The cleanup is due at once. */
export function newPendingCleanup(record: OfMigration, role: Role, owner: Role): PendingCleanupItem {
  const hostId = record[role];
  return {
    ...pendingCleanupKey(hostId, record.vm),
    hostId,
    vm: record.vm,
    migrationId: record.migrationId,
    role,
    owner,
    since: isoNow(),
    attempts: 0,
    nextAttemptAt: now(),
  };
}

export function listPendingCleanups(): Promise<PendingCleanupItem[]> {
  return queryAll<PendingCleanupItem>({
    TableName: CONTROL,
    KeyConditionExpression: 'pk = :cleanups',
    ExpressionAttributeValues: { ':cleanups': CLEANUPS },
    ConsistentRead: true,
  });
}

/** The pending cleanups that this migration, and no newer one, has left. */
export async function pendingCleanupsOf({
  migrationId,
  vm,
  source,
  destination,
}: OfMigration): Promise<PendingCleanupItem[]> {
  const keys = [pendingCleanupKey(source, vm), pendingCleanupKey(destination, vm)];
  const pending = await getItems<PendingCleanupItem>(CONTROL, keys);
  return pending.filter((pendingCleanup) => pendingCleanup.migrationId === migrationId);
}

export async function removePendingCleanup({ hostId, vm, migrationId }: PendingCleanupItem): Promise<void> {
  await unlessConditionFails(
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

/** The attempt has not ended it: it stays, with the reason where an operator has to act, and is due again later. */
export async function postponePendingCleanup(
  { hostId, vm, migrationId, attempts }: PendingCleanupItem,
  why?: string,
): Promise<void> {
  const wait = Math.min(PAUSE.firstMs * 2 ** attempts, PAUSE.mostMs);
  await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: pendingCleanupKey(hostId, vm),
        UpdateExpression: `SET attempts = :attempts, nextAttemptAt = :next ${why === undefined ? 'REMOVE why' : ', why = :why'}`,
        ConditionExpression: 'migrationId = :id',
        ExpressionAttributeValues: {
          ':attempts': attempts + 1,
          ':next': now() + wait,
          ':id': migrationId,
          ...(why !== undefined && { ':why': why }),
        },
      }),
    ),
  );
}
