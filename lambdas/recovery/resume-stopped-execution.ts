import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { MigrationId } from '../../contract/names.ts';
import { getHost } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { addEvent } from '../migrations/timeline.ts';
import {
  CONTROL,
  type LockItem,
  lockKey,
  type MigrationItem,
  mailboxOfNode,
  migrationKey,
} from '../platform/control-table.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, isoNow } from '../platform/runtime.ts';
import { transact } from '../platform/transaction.ts';
import { pendingCleanupsOf } from './pending-cleanups.ts';

const Input = z.object({
  migrationId: MigrationId,
  number: z.int().min(1).max(99),
  executionArn: z.string(),
  /** Whether it takes over from an execution that was stopped, and may have stopped in the midst of settling. */
  stopped: z.boolean(),
});

/**
 * For a Recover execution: what admission has given the migration, and why it has to be recovered. A migration that had not
 * been admitted, or has ended, needs no recovery; it is only settled. But one that ended with a host flagged is followed up: for
 * that the VM's lock is taken, in the name of this very execution, so that nothing late of an earlier one can release it.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, number, executionArn, stopped } = parse(Input, event, 'recovery');
  const record = await getRecord(migrationId);
  const failure = failureOf(record);
  if (record === undefined) return { admitted: false, failure };
  if (record.endedAt !== undefined) {
    const cleansUp = !stopped && (await beginCleanup(record, { executionArn, holder: `${migrationId}.${number}` }));
    if (!cleansUp) return { admitted: false, failure };
  } else if (await take(record, executionArn)) {
    await addEvent(migrationId, 'taken over', { from: record.executionArn, by: executionArn });
  }
  const source = await getHost(record.source);
  return {
    admitted: record.admittedAt !== undefined,
    vm: record.vm,
    commitRecord: commitRecordKey(mailboxOfNode(source.nodeId), migrationId),
    failure,
  };
});

/** Whether there is something to follow up, and no other migration at work on the VM. */
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
    // A migration between the look and the lock may have taken them away, or put newer ones in their place.
    ...pendingCleanups.map(({ pk, sk, migrationId }) => ({
      name: 'flag' as const,
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
    await addEvent(record.migrationId, 'followed up', {
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

/** Makes this execution the one at work. Whether it was not yet. */
async function take(record: MigrationItem, executionArn: string): Promise<boolean> {
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(record.migrationId),
        UpdateExpression: 'SET executionArn = :me',
        ConditionExpression: 'attribute_exists(pk) AND executionArn <> :me',
        ExpressionAttributeValues: { ':me': executionArn },
      }),
    );
    return true;
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    return false;
  }
}
