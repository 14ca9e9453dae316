import { QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { MigrationStatus } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { HostId, VmName } from '../../contract/names.ts';
import { getRecords } from '../migrations/migration-record.ts';
import { migrationIdOf } from '../platform/control-keys.ts';
import { CONTROL } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { viewOf } from './migration-view.ts';
import { json } from './problem.ts';

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
  const ids = (page.Items ?? []).map(({ pk }) => migrationIdOf(String(pk)));
  const records = await getRecords(ids);
  return json(200, {
    migrations: records.map((record) => viewOf(record, [])),
    ...(page.LastEvaluatedKey !== undefined && { next: encode(page.LastEvaluatedKey) }),
  });
}

const encode = (key: Record<string, unknown>): string => Buffer.from(JSON.stringify(key)).toString('base64url');

/** Only a key of the same query continues it: DynamoDB would refuse any other, with an error that our callers cannot read. */
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
