import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import { BatchGetCommand, GetCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { MigrationRequest, MigrationStatus, type MigrationView } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { HostId, MigrationId, VmName } from '../../contract/names.ts';
import { consoleUrl, executionArnOf } from '../shared/console.ts';
import { CONTROL, type EventItem, type MigrationItem, migrationKey } from '../shared/control-table.ts';
import { parse } from '../shared/parse.ts';
import { json } from '../shared/problem.ts';
import { dynamo, setting, sfn } from '../shared/surroundings.ts';

export const migrationIdOf = (event: APIGatewayProxyEventV2): string =>
  parse(MigrationId, event.pathParameters?.migrationId, 'migrationId');

export async function getMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdOf(event);
  const record = await getRecord(migrationId);
  return json(
    200,
    record === undefined ? await notAdmittedYet(migrationId) : view(record, await timeline(migrationId)),
  );
}

export async function getRecord(migrationId: string): Promise<MigrationItem | undefined> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: CONTROL, Key: migrationKey(migrationId), ConsistentRead: true }),
  );
  return Item as MigrationItem | undefined;
}

export function unknownMigration(migrationId: string): HandoffError {
  return new HandoffError('UnknownMigration', `No migration "${migrationId}" is known; GET /migrations lists them.`);
}

async function timeline(migrationId: string): Promise<EventItem[]> {
  const { Items } = await dynamo.send(
    new QueryCommand({
      TableName: CONTROL,
      KeyConditionExpression: 'pk = :pk AND begins_with(sk, :event)',
      ExpressionAttributeValues: { ':pk': migrationKey(migrationId).pk, ':event': 'EVENT#' },
      ConsistentRead: true,
    }),
  );
  return (Items ?? []) as EventItem[];
}

function view(record: MigrationItem, events: readonly EventItem[]): MigrationView {
  const {
    pk: _pk,
    sk: _sk,
    entity: _entity,
    checks,
    admittedAt: _admitted,
    cancelRequestedAt: _cancel,
    ...shown
  } = record;
  return {
    ...shown,
    checks: Object.entries(checks ?? {}).flatMap(([role, list]) =>
      list.map((check) => ({ ...check, role: role === 'source' ? ('source' as const) : ('destination' as const) })),
    ),
    timeline: events.map(({ at, what, detail }) => ({ at, what, ...(detail && { detail }) })),
    consoleUrl: consoleUrl(record.executionArn),
  };
}

/** Between the API's answer and admission, and for one admission refused, only the execution can tell. */
async function notAdmittedYet(migrationId: string): Promise<MigrationView> {
  const executionArn = executionArnOf(setting('MIGRATE_MACHINE'), migrationId);
  try {
    const execution = await sfn.send(new DescribeExecutionCommand({ executionArn }));
    const request = MigrationRequest.parse(JSON.parse(execution.input ?? '{}'));
    const failed = execution.status !== 'RUNNING';
    return {
      migrationId,
      vm: request.vm,
      source: request.source,
      destination: request.destination,
      policy: request.policy,
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
  } catch (error) {
    if (error instanceof Error && error.name === 'ExecutionDoesNotExist') throw unknownMigration(migrationId);
    throw error;
  }
}

const ListQuery = z.strictObject({
  vm: VmName.optional(),
  host: HostId.optional(),
  status: MigrationStatus.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(25),
  next: z.string().optional(),
});

/** Newest first; by one of vm, host and status, or all. */
export async function listMigrations(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const query = parse(ListQuery, event.queryStringParameters ?? {}, 'query');
  const filters = (['vm', 'host', 'status'] as const).filter((name) => query[name] !== undefined);
  if (filters.length > 1) {
    throw new HandoffError('InvalidInput', `give one of vm, host and status, not ${filters.join(' and ')} together`, {
      detail: { errors: filters.map((field) => ({ field, message: 'only one filter at a time' })) },
    });
  }
  const filter = filters[0];
  const index = { vm: 'byVm', host: 'byHost', status: 'byStatus', all: 'recent' }[filter ?? 'all'];
  const page = await dynamo.send(
    new QueryCommand({
      TableName: CONTROL,
      IndexName: index,
      KeyConditionExpression: '#key = :value',
      ExpressionAttributeNames: { '#key': filter ?? 'entity' },
      ExpressionAttributeValues: { ':value': filter === undefined ? 'MIGRATION' : query[filter] },
      ScanIndexForward: false,
      Limit: query.limit,
      ...(query.next !== undefined && { ExclusiveStartKey: decode(query.next) }),
    }),
  );
  const ids = (page.Items ?? []).map((item) => String(item.pk).slice('MIGRATION#'.length));
  const records = await getRecords(ids);
  return json(200, {
    migrations: records.map((record) => view(record, [])),
    ...(page.LastEvaluatedKey !== undefined && { next: encode(page.LastEvaluatedKey) }),
  });
}

async function getRecords(ids: readonly string[]): Promise<MigrationItem[]> {
  if (ids.length === 0) return [];
  const found = new Map<string, MigrationItem>();
  let keys: Record<string, unknown>[] = ids.map((id) => migrationKey(id));
  while (keys.length > 0) {
    const { Responses, UnprocessedKeys } = await dynamo.send(
      new BatchGetCommand({ RequestItems: { [CONTROL]: { Keys: keys } } }),
    );
    for (const item of (Responses?.[CONTROL] ?? []) as MigrationItem[]) found.set(item.migrationId, item);
    keys = UnprocessedKeys?.[CONTROL]?.Keys ?? [];
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

const encode = (key: Record<string, unknown>): string => Buffer.from(JSON.stringify(key)).toString('base64url');

function decode(token: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch {
    throw new HandoffError('InvalidInput', 'next: must be the "next" of an earlier answer, unchanged', {
      detail: { errors: [{ field: 'next', message: 'must be the "next" of an earlier answer, unchanged' }] },
    });
  }
}
