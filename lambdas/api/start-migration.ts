import { createHash } from 'node:crypto';
import { PutCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { newMigrationId } from '../../contract/names.ts';
import { getHosts, mustAccept } from '../hosts/hosts.ts';
import { getLock, vmBusy } from '../migrations/vm-lock.ts';
import { idempotencyKey } from '../platform/control-keys.ts';
import { CONTROL, type KeyItem } from '../platform/control-table.ts';
import { getItem, unlessConditionFails } from '../platform/dynamo.ts';
import { consoleUrl } from '../platform/execution-names.ts';
import { startExecution } from '../platform/executions.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, now, requireEnv, uuid } from '../platform/runtime.ts';
import { json } from './problem.ts';

const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, 'must be 1-128 visible ASCII characters, such as a UUID')
  .optional();

/** A key is remembered as long as Step Functions remembers an execution's name. */
const KEY_SECONDS = 90 * 24 * 3600;

/**
 * Starts a migration. Everything that can be known now is checked first, and a refused request leaves nothing behind.
 *
 * With an Idempotency-Key the migration's id is stored under the key before the execution is started. Whatever happens in
 * between, a repetition finds the id and starts the same execution, which Step Functions does once for a name.
 */
export async function startMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const request = parse(MigrationRequest, event.body, 'body');
  const key = parse(IdempotencyKey, event.headers['idempotency-key'], 'Idempotency-Key');
  const fingerprint = createHash('sha256').update(JSON.stringify(request)).digest('hex');
  const before = key === undefined ? undefined : await seenBefore(key, fingerprint);
  if (before !== undefined) return start(before.migrationId, request);

  const { destination } = await getHosts(request.source, request.destination);
  mustAccept(destination);
  if ((await getLock(request.vm)) !== undefined) throw await vmBusy(request.vm);
  const fresh = newMigrationId(request.vm, uuid());
  const migrationId = key === undefined ? fresh : await remember(key, fingerprint, fresh);
  return start(migrationId, request);
}

async function seenBefore(key: string, fingerprint: string): Promise<KeyItem | undefined> {
  const item = await getItem<KeyItem>(CONTROL, idempotencyKey(key));
  if (item !== undefined && item.fingerprint !== fingerprint) {
    throw new HandoffError(
      'IdempotencyKeyReused',
      `This Idempotency-Key belongs to migration ${item.migrationId}, whose request was different; use a new key.`,
      { detail: { migrationId: item.migrationId } },
    );
  }
  return item;
}

/** Stores the key. Returns the key's migration, which is another one if the same request has just stored the key. */
async function remember(key: string, fingerprint: string, migrationId: string): Promise<string> {
  const item: KeyItem = {
    ...idempotencyKey(key),
    migrationId,
    fingerprint,
    expiresAt: Math.floor(now() / 1000) + KEY_SECONDS,
  };
  const put = new PutCommand({ TableName: CONTROL, Item: item, ConditionExpression: 'attribute_not_exists(pk)' });
  if ((await unlessConditionFails(dynamo.send(put))) !== undefined) return migrationId;
  const other = await seenBefore(key, fingerprint);
  if (other === undefined) throw new Error('The item of an Idempotency-Key was there, and then was not.');
  return other.migrationId;
}

/** Answers the same whether the execution was started now or by an earlier request. */
async function start(migrationId: string, request: MigrationRequest): Promise<APIGatewayProxyStructuredResultV2> {
  const { executionArn } = await startExecution(requireEnv('MIGRATE_MACHINE'), migrationId, request);
  const body = { migrationId, status: 'REQUESTED', executionArn, consoleUrl: consoleUrl(executionArn) };
  return json(202, body, { location: `/migrations/${migrationId}` });
}
