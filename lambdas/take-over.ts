import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { ticketKey } from '../contract/mailbox.ts';
import { MigrationId } from '../contract/names.ts';
import { CONTROL, type MigrationItem, mailboxOfNode, migrationKey } from './shared/control-table.ts';
import { lambda } from './shared/function.ts';
import { getHost } from './shared/hosts.ts';
import { getRecord } from './shared/migration-record.ts';
import { parse } from './shared/parse.ts';
import { dynamo } from './shared/surroundings.ts';
import { addEvent } from './shared/timeline.ts';

const Input = z.object({ migrationId: MigrationId, number: z.int().min(1).max(99), executionArn: z.string() });

/**
 * For a Recover execution: what admission has given the migration, and why it has to be recovered. A migration that had not
 * been admitted, or has ended, needs no recovery; it is only settled.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, executionArn } = parse(Input, event, 'recovery');
  const record = await getRecord(migrationId);
  const failure = failureOf(record);
  if (record === undefined || record.endedAt !== undefined) return { admitted: false, failure };
  if (await take(record, executionArn)) {
    await addEvent(migrationId, 'taken over', { from: record.executionArn, by: executionArn });
  }
  const source = await getHost(record.source);
  return {
    admitted: record.admittedAt !== undefined,
    vm: record.vm,
    ticket: ticketKey(mailboxOfNode(source.nodeId), migrationId),
    failure,
  };
});

function failureOf(record: MigrationItem | undefined): { code: string; message: string } {
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
