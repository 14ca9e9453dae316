import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HandoffError } from '../../contract/errors.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { addEvent } from '../migrations/timeline.ts';
import { migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type MigrationItem } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { dynamo, isoNow } from '../platform/runtime.ts';
import { migrationIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/**
 * Requests the cutover that a migration with the policy `cutover: manual` waits for. A request before the copy is held takes effect as
 * soon as the copy is held; a second request changes nothing.
 */
export async function requestCutover(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdIn(event);
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId, 'if it was started just now, try again');
  if (record.cutoverRequestedAt === undefined && (await storeRequest(record)))
    await addEvent(migrationId, 'cutover requested');
  return json(202, { migrationId, status: record.status });
}

/** False when another request was stored first. */
async function storeRequest(record: MigrationItem): Promise<boolean> {
  const { migrationId } = record;
  const stored = await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: 'SET cutoverRequestedAt = :now',
        ConditionExpression:
          'attribute_not_exists(cutoverRequestedAt) AND attribute_not_exists(cancelRequestedAt) AND attribute_not_exists(endedAt) AND #policy.cutover = :manual',
        ExpressionAttributeNames: { '#policy': 'policy' },
        ExpressionAttributeValues: { ':now': isoNow(), ':manual': 'manual' },
      }),
    ),
  );
  if (stored !== undefined) return true;
  const latest = await getRecord(migrationId);
  if (latest?.cutoverRequestedAt !== undefined) return false;
  const why =
    record.policy.cutover !== 'manual'
      ? 'its policy cuts over automatically'
      : latest?.cancelRequestedAt !== undefined
        ? 'it is cancelled'
        : `it has ended (${latest?.status})`;
  throw new HandoffError('NotHeld', `${migrationId} does not wait for a cutover request: ${why}.`, {
    detail: { migrationId },
  });
}
