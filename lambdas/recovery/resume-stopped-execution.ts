import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { MigrationId } from '../../contract/names.ts';
import { getHost } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { pendingCleanupsOf } from '../migrations/pending-cleanups.ts';
import { addEvent } from '../migrations/timeline.ts';
import { lockKey, migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type LockItem, type MigrationItem, mailboxOfNode } from '../platform/control-table.ts';
import { transact, unlessConditionFails } from '../platform/dynamo.ts';
import { recoveryName } from '../platform/execution-names.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, isoNow } from '../platform/runtime.ts';

const Input = z.object({
  migrationId: MigrationId,
  number: z.int().min(1).max(99),
  executionArn: z.string(),
  /** Whether it succeeds an execution that was stopped, and may have been stopped while it settled. */
  stopped: z.boolean(),
});

/**
 * For a Recover execution: what admission has given the migration, and why it has to be recovered. A migration that had not
 * been admitted, or has ended, needs no recovery; it is only settled. A migration that ended with a pending cleanup is cleaned up: for
 * that the VM's lock is taken, in the name of this execution, so that no late write of an earlier one can release it.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, number, executionArn, stopped } = parse(Input, event, 'recovery');
  const record = await getRecord(migrationId);
  const failure = failureOf(record);
  if (record === undefined) return { admitted: false, failure };
  if (record.endedAt !== undefined) {
    const cleansUp =
      !stopped && (await beginCleanup(record, { executionArn, holder: recoveryName(migrationId, number) }));
    if (!cleansUp) return { admitted: false, failure };
  } else if (await take(record, executionArn)) {
    await addEvent(migrationId, 'stopped execution resumed', { from: record.executionArn, by: executionArn });
  }
  const source = await getHost(record.source);
  return {
    admitted: record.admittedAt !== undefined,
    vm: record.vm,
    commitRecord: commitRecordKey(mailboxOfNode(source.nodeId), migrationId),
    failure,
  };
});

/** Whether there is a pending cleanup, and no other migration holds the VM's lock. */
async function beginCleanup(
  record: MigrationItem,
  { executionArn, holder }: { executionArn: string; holder: string },
): Promise<boolean> {
  const pendingCleanups = await pendingCleanupsOf(record);
  if (pendingCleanups.length === 0) return false;
  const refused = await transact([
    {
      name: 'lock' as const,
      write: {
        Put: {
          TableName: CONTROL,
          Item: {
            ...lockKey(record.vm),
            entity: 'LOCK',
            migrationId: holder,
            requestedAt: isoNow(),
          } satisfies LockItem,
          ConditionExpression: 'attribute_not_exists(pk) OR migrationId = :me',
          ExpressionAttributeValues: { ':me': holder },
        },
      },
    },
    // Another migration may have removed or replaced them since they were read.
    ...pendingCleanups.map(({ pk, sk, migrationId }) => ({
      name: 'pending cleanup' as const,
      write: {
        ConditionCheck: {
          TableName: CONTROL,
          Key: { pk, sk },
          ConditionExpression: 'migrationId = :id',
          ExpressionAttributeValues: { ':id': migrationId },
        },
      },
    })),
  ]);
  if (refused.length > 0) return false;
  if (await take(record, executionArn)) {
    await addEvent(record.migrationId, 'cleanup started', {
      hosts: pendingCleanups.map(({ hostId }) => hostId),
      by: executionArn,
    });
  }
  return true;
}

function failureOf(record: MigrationItem | undefined): { code: string; message: string } {
  if (record?.endedAt !== undefined) {
    return { code: 'HostSilent', message: 'A host did not answer when the migration was settled.' };
  }
  const operator = record?.operator;
  return operator === undefined
    ? { code: 'ExecutionStopped', message: 'The execution that carried the migration was stopped from outside.' }
    : {
        code: 'SettledByOperator',
        message: `${operator.by} said that the ${operator.owner} owns the VM: ${operator.reason}`,
      };
}

/** Makes this execution the one responsible for the migration. False when it was already. */
async function take(record: MigrationItem, executionArn: string): Promise<boolean> {
  const written = await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(record.migrationId),
        UpdateExpression: 'SET executionArn = :me',
        ConditionExpression: 'attribute_exists(pk) AND executionArn <> :me',
        ExpressionAttributeValues: { ':me': executionArn },
      }),
    ),
  );
  return written !== undefined;
}
