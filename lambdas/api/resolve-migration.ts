import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { type MigrationView, Resolution } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { eventItem } from '../migrations/timeline.ts';
import { migrationKey } from '../platform/control-keys.ts';
import { CONTROL } from '../platform/control-table.ts';
import { transact } from '../platform/dynamo.ts';
import { consoleUrl, executionArnOf, recoveryName } from '../platform/execution-names.ts';
import { parse } from '../platform/parse.ts';
import { isoNow, requireEnv } from '../platform/runtime.ts';
import { recoveryNumberOf, startRecovery } from '../recovery/start-recovery.ts';
import { callerOf } from './caller.ts';
import { migrationIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/**
 * Resumes the recovery of a migration that needs an operator, with the operator's statement of who owns the VM. The statement is stored
 * in the record, in the write that resumes the recovery: every later Recover execution reads it there.
 */
export async function resolveMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdIn(event);
  const resolution = parse(Resolution, event.body ?? {}, 'body');
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId);
  if (record.status !== 'NEEDS_OPERATOR') throw notInDoubt(migrationId, record.status);

  const operator: MigrationView['operator'] = { ...resolution, by: callerOf(event), at: isoNow() };
  const last = recoveryNumberOf(record.executionArn);
  const executionArn = executionArnOf(requireEnv('RECOVER_MACHINE'), recoveryName(migrationId, last + 1));
  const refused = await transact([
    {
      name: 'record' as const,
      write: {
        Update: {
          TableName: CONTROL,
          Key: migrationKey(migrationId),
          UpdateExpression:
            'SET #status = :recovering, #operator = :operator, executionArn = :next REMOVE endedAt, failure',
          // Of two at once only one succeeds; they may name different owners.
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
          Item: eventItem(migrationId, 'resolved by operator', { ...operator, failure: record.failure }),
        },
      },
    },
  ]);
  if (refused.length > 0) throw notInDoubt(migrationId, (await getRecord(migrationId))?.status);
  // If this is never reached, the sweep starts the recovery.
  await startRecovery(migrationId, last);
  return json(202, { migrationId, status: 'RECOVERING', executionArn, consoleUrl: consoleUrl(executionArn) });
}

function notInDoubt(migrationId: string, status: string | undefined): HandoffError {
  return new HandoffError(
    'NotInDoubt',
    `${migrationId} is ${status ?? 'gone'}; only a migration that is NEEDS_OPERATOR can be resolved.`,
    { detail: { migrationId } },
  );
}
