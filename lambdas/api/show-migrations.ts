import { BatchGetCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { MigrationRequest, MigrationStatus, type MigrationView } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { HostId, MigrationId, VmName } from '../../contract/names.ts';
import { getExecution, getRecord, resultOf, unknownMigration } from '../migrations/migration-record.ts';
import { consoleUrl } from '../platform/aws-console.ts';
import { CONTROL, type EventItem, type MigrationItem, migrationKey } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { json } from './problem.ts';

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
    guest: _guest,
    watched: _watched,
    ...shown
  } = record;
  const result = resultOf(record);
  return {
    ...shown,
    ...(result && { result }),
    checks: Object.entries(checks ?? {}).flatMap(([role, list]) =>
      list.map((check) => ({ ...check, role: role === 'source' ? ('source' as const) : ('destination' as const) })),
    ),
    timeline: events.map(({ at, event, detail }) => ({ at, event, ...(detail && { detail }) })),
    consoleUrl: consoleUrl(record.executionArn),
  };
}

/** Between the API's answer and admission, and for one admission refused, only the execution can tell. */
async function notAdmittedYet(migrationId: string): Promise<MigrationView> {
  const { executionArn, ...execution } = await getExecution(migrationId);
  const request = MigrationRequest.safeParse(JSON.parse(execution.input ?? '{}')).data;
  // Started by hand with something else: there is no migration to show.
  if (request === undefined) throw unknownMigration(migrationId, `see what became of its execution ${executionArn}`);
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
  const key = filter ?? 'entity';
  const value = filter === undefined ? 'MIGRATION' : String(query[filter]);
  const page = await dynamo.send(
    new QueryCommand({
      TableName: CONTROL,
      IndexName: index,
      KeyConditionExpression: '#key = :value',
      ExpressionAttributeNames: { '#key': key },
      ExpressionAttributeValues: { ':value': value },
      ScanIndexForward: false,
      Limit: query.limit,
      ...(query.next !== undefined && { ExclusiveStartKey: decode(query.next, key, value) }),
    }),
  );
  const ids = (page.Items ?? []).map((item) => String(item.pk).slice('MIGRATION#'.length));
  const records = await getRecords(ids);
  return json(200, {
    migrations: records.map((record) => view(record, [])),
    ...(page.LastEvaluatedKey !== undefined && { next: encode(page.LastEvaluatedKey) }),
  });
}

export async function getRecords(ids: readonly string[]): Promise<MigrationItem[]> {
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

/** A page goes on with the list it came from; DynamoDB would refuse any other key, and not in words for our clients. */
function decode(token: string, key: string, value: string): Record<string, unknown> {
  const startKey = z.strictObject({
    pk: z.string(),
    sk: z.string(),
    requestedAt: z.string(),
    [key]: z.literal(value),
  });
  try {
    return startKey.parse(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch {
    const message = 'must be the "next" of an earlier answer to the same query, unchanged';
    throw new HandoffError('InvalidInput', `next: ${message}`, { detail: { errors: [{ field: 'next', message }] } });
  }
}
