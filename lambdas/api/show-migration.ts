import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { MigrationRequest, type MigrationView } from '../../contract/api.ts';
import { getExecution, getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { timelineOf } from '../migrations/timeline.ts';
import { consoleUrl } from '../platform/execution-names.ts';
import { viewOf } from './migration-view.ts';
import { migrationIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

export async function showMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdIn(event);
  const record = await getRecord(migrationId);
  return json(
    200,
    record === undefined ? await notAdmittedYet(migrationId) : viewOf(record, await timelineOf(migrationId)),
  );
}

/** Between the API's answer and admission, and after an admission that was refused, there is only the execution. */
async function notAdmittedYet(migrationId: string): Promise<MigrationView> {
  const { executionArn, ...execution } = await getExecution(migrationId);
  const request = MigrationRequest.safeParse(JSON.parse(execution.input ?? '{}')).data;
  // Started by hand with another input: there is no migration to show.
  if (request === undefined) throw unknownMigration(migrationId, `its execution is ${executionArn}`);
  const { vm, source, destination, policy } = request;
  const failed = execution.status !== 'RUNNING';
  return {
    migrationId,
    vm,
    source,
    destination,
    policy,
    status: failed ? 'FAILED' : 'REQUESTED',
    requestedAt: execution.startDate?.toISOString() ?? '',
    ...(execution.stopDate !== undefined && { endedAt: execution.stopDate.toISOString() }),
    ...(failed && {
      failure: { code: execution.error ?? 'AgentFailed', message: execution.cause ?? 'The execution ended.' },
    }),
    timeline: [],
    executionArn,
    consoleUrl: consoleUrl(executionArn),
  };
}
