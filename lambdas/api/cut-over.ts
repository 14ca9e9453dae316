import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HandoffError } from '../../contract/errors.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { addEvent } from '../migrations/timeline.ts';
import { CONTROL, type MigrationItem, migrationKey } from '../platform/control-table.ts';
import { dynamo, isoNow } from '../platform/runtime.ts';
import { json } from './problem.ts';
import { migrationIdOf } from './show-migrations.ts';

/**
 * Gives the word that a migration with the policy `cutover: manual` waits for. It may come before the copy is held, which then
 * switches as soon as it is; a second one changes nothing.
 */
export async function cutOver(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdOf(event);
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId, 'if it was asked for just now, order again');
  if (record.cutoverRequestedAt === undefined && (await note(record))) await addEvent(migrationId, 'word to cut over');
  return json(202, { migrationId, status: record.status });
}

/** False when another order noted it first. */
async function note(record: MigrationItem): Promise<boolean> {
  const { migrationId } = record;
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: 'SET cutoverRequestedAt = :now',
        ConditionExpression:
          'attribute_not_exists(cutoverRequestedAt) AND attribute_not_exists(cancelRequestedAt) AND attribute_not_exists(endedAt) AND #policy.cutover = :onOrder',
        ExpressionAttributeNames: { '#policy': 'policy' },
        ExpressionAttributeValues: { ':now': isoNow(), ':onOrder': 'manual' },
      }),
    );
    return true;
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    const latest = await getRecord(migrationId);
    if (latest?.cutoverRequestedAt !== undefined) return false;
    const why =
      record.policy.cutover !== 'manual'
        ? 'its policy does not wait for a word'
        : latest?.cancelRequestedAt !== undefined
          ? 'it is cancelled'
          : `it has ended (${latest?.status})`;
    throw new HandoffError('NotHeld', `${migrationId} cannot be told to cut over: ${why}.`, {
      detail: { migrationId },
    });
  }
}
