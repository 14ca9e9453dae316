import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { type MigrationView, Resolution } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { eventItem } from '../migrations/timeline.ts';
import { consoleUrl, executionArnOf } from '../platform/aws-console.ts';
import { CONTROL, migrationKey } from '../platform/control-table.ts';
import { recoverNext, recoveryNumber } from '../platform/executions.ts';
import { parse } from '../platform/parse.ts';
import { isoNow, requireEnv } from '../platform/runtime.ts';
import { transact } from '../platform/transaction.ts';
import { callerOf } from './caller.ts';
import { json } from './problem.ts';
import { migrationIdOf } from './show-migrations.ts';

/**
 * Takes up a migration again that needs an operator, with the operator's word on who owns the VM. The word is stored in the
 * record, in the write that takes it up: recovery reads it there, whichever execution comes to it.
 */
export async function resolveMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdOf(event);
  const resolution = parse(Resolution, event.body ?? {}, 'body');
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId);
  if (record.status !== 'NEEDS_OPERATOR') throw notInDoubt(migrationId, record.status);

  const operator: MigrationView['operator'] = { ...resolution, by: callerOf(event), at: isoNow() };
  const last = recoveryNumber(record.executionArn);
  const executionArn = executionArnOf(requireEnv('RECOVER_MACHINE'), `${migrationId}.${last + 1}`);
  const refused = await transact([
    {
      name: 'record' as const,
      write: {
        Update: {
          TableName: CONTROL,
          Key: migrationKey(migrationId),
          UpdateExpression:
            'SET #status = :recovering, #operator = :operator, executionArn = :next REMOVE endedAt, failure',
          // Of two at once one is heard; the word of the other may be a different one.
          ConditionExpression: '#status = :needsOperator AND executionArn = :seen',
          ExpressionAttributeNames: { '#status': 'status', '#operator': 'operator' },
          ExpressionAttributeValues: {
            ':recovering': 'RECOVERING',
            ':needsOperator': 'NEEDS_OPERATOR',
            ':operator': operator,
            ':next': executionArn,
            ':seen': record.executionArn,
          },
        },
      },
    },
    {
      name: 'event' as const,
      write: {
        Put: {
          TableName: CONTROL,
          Item: eventItem(migrationId, 'resolved by an operator', { ...operator, failure: record.failure }),
        },
      },
    },
  ]);
  if (refused.length > 0) throw notInDoubt(migrationId, (await getRecord(migrationId))?.status);
  // Should this not happen any more, the sweep does it.
  await recoverNext(migrationId, last);
  return json(202, { migrationId, status: 'RECOVERING', executionArn, consoleUrl: consoleUrl(executionArn) });
}

function notInDoubt(migrationId: string, status: string | undefined): HandoffError {
  return new HandoffError(
    'NotInDoubt',
    `${migrationId} is ${status ?? 'gone'}; only a migration that is NEEDS_OPERATOR can be resolved.`,
    { detail: { migrationId } },
  );
}
