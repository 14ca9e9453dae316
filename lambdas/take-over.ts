import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { ticketKey } from '../contract/mailbox.ts';
import { MigrationId } from '../contract/names.ts';
import { CONTROL, mailboxOfNode, migrationKey } from './shared/control-table.ts';
import { lambda } from './shared/function.ts';
import { addressOf, getHosts } from './shared/hosts.ts';
import { getRecord, unknownMigration } from './shared/migration-record.ts';
import { parse } from './shared/parse.ts';
import { dynamo } from './shared/surroundings.ts';
import { addEvent } from './shared/timeline.ts';

const Input = z.object({ migrationId: MigrationId, executionArn: z.string() });

/**
 * For an execution that takes over from a stopped one: what admission has given that one. A migration that had not been
 * admitted, or had ended, needs no recovery; it is only settled.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, executionArn } = parse(Input, event, 'takeover');
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId, 'there is nothing to take over');
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: migrationKey(migrationId),
      UpdateExpression: 'SET executionArn = :me',
      ExpressionAttributeValues: { ':me': executionArn },
    }),
  );
  await addEvent(migrationId, 'taken over', { from: record.executionArn, by: executionArn });
  const { source, destination } = await getHosts(record.source, record.destination);
  return {
    admitted: record.admittedAt !== undefined && record.endedAt === undefined,
    vm: record.vm,
    source: addressOf(source),
    destination: addressOf(destination),
    policy: record.policy,
    ticket: ticketKey(mailboxOfNode(source.nodeId), migrationId),
  };
});
