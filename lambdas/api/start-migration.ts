import { createHash } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { StartExecutionCommand } from '@aws-sdk/client-sfn';
import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { slug } from '../../contract/names.ts';
import { getHosts, mustAccept } from '../hosts/hosts.ts';
import { consoleUrl, executionArnOf } from '../platform/aws-console.ts';
import {
  CONTROL,
  idempotencyKey,
  type KeyItem,
  type LockItem,
  lockKey,
  migrationOfLock,
} from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, now, requireEnv, sfn, uuid } from '../platform/runtime.ts';
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
  if (before !== undefined) return accepted(await start(before.migrationId, request), before.migrationId);

  const { destination } = await getHosts(request.source, request.destination);
  mustAccept(destination);
  await mustBeFree(request.vm);
  const fresh = `${slug(request.vm)}-${uuid().replaceAll('-', '').slice(0, 10)}`;
  const migrationId = key === undefined ? fresh : await remember(key, fingerprint, fresh);
  return accepted(await start(migrationId, request), migrationId);
}

async function seenBefore(key: string, fingerprint: string): Promise<KeyItem | undefined> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: CONTROL, Key: idempotencyKey(key), ConsistentRead: true }),
  );
  const item = Item as KeyItem | undefined;
  if (item !== undefined && item.fingerprint !== fingerprint) {
    throw new HandoffError(
      'IdempotencyKeyReused',
      `This Idempotency-Key belongs to migration ${item.migrationId}, whose request was different; use a new key.`,
      { detail: { migrationId: item.migrationId } },
    );
  }
  return item;
}

/** Stores the key, unless the same request did so a moment ago: then its migration is the one. */
async function remember(key: string, fingerprint: string, migrationId: string): Promise<string> {
  const item: KeyItem = {
    ...idempotencyKey(key),
    migrationId,
    fingerprint,
    expiresAt: Math.floor(now() / 1000) + KEY_SECONDS,
  };
  try {
    await dynamo.send(
      new PutCommand({ TableName: CONTROL, Item: item, ConditionExpression: 'attribute_not_exists(pk)' }),
    );
    return migrationId;
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    const other = await seenBefore(key, fingerprint);
    if (other === undefined) throw error;
    return other.migrationId;
  }
}

async function mustBeFree(vm: string): Promise<void> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: CONTROL, Key: lockKey(vm), ConsistentRead: true }));
  if (Item === undefined) return;
  const migrationId = migrationOfLock(Item as LockItem);
  throw new HandoffError('VmBusy', `${vm} is being migrated by ${migrationId}; wait for it, or cancel it.`, {
    detail: { migrationId },
  });
}

/** Returns the execution's ARN, whether it was started now or by an earlier try. */
async function start(migrationId: string, request: MigrationRequest): Promise<string> {
  const stateMachineArn = requireEnv('MIGRATE_MACHINE');
  try {
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name: migrationId, input: JSON.stringify(request) }));
  } catch (error) {
    // Started by an earlier try, and over by now.
    if (!(error instanceof Error && error.name === 'ExecutionAlreadyExists')) throw error;
  }
  return executionArnOf(stateMachineArn, migrationId);
}

function accepted(executionArn: string, migrationId: string): APIGatewayProxyStructuredResultV2 {
  const body = { migrationId, status: 'REQUESTED', executionArn, consoleUrl: consoleUrl(executionArn) };
  return json(202, body, { location: `/migrations/${migrationId}` });
}
