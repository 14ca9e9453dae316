import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { FINAL_STATUSES, MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { failTask } from '../agent-gateway/task-answer.ts';
import { getHost } from '../hosts/hosts.ts';
import { getExecution, getRecord, hostLinks, newRecord, unknownMigration } from '../migrations/migration-record.ts';
import { addEvent } from '../migrations/timeline.ts';
import { migrationKey, requestsOf } from '../platform/control-keys.ts';
import { CONTROL, MAILBOX, type MigrationItem, mailboxOfNode, type RequestItem } from '../platform/control-table.ts';
import { queryAll, transact } from '../platform/dynamo.ts';
import { isoNow } from '../platform/runtime.ts';
import { migrationIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/**
 * Cancels a migration that has not been handed over yet. The commit record decides: one transaction revokes it and stores the cancel,
 * and either that transaction or the mover's commit is first. What follows only saves time: the running stage is failed, so that the
 * state machine enters recovery now, and not when the mover finds its commit record revoked.
 */
export async function cancelMigration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const migrationId = migrationIdIn(event);
  const record = (await getRecord(migrationId)) ?? (await createCancelledRecord(migrationId));
  if (record.status === 'CANCELLED' || (record.cancelRequestedAt !== undefined && record.endedAt === undefined)) {
    return answer(record, record.status === 'CANCELLED');
  }
  if (FINAL_STATUSES.includes(record.status)) throw tooLate(migrationId, `it has ended (${record.status})`);

  const refused = await revoke(record);
  if (refused.length > 0) {
    const latest = await getRecord(migrationId);
    if (latest === undefined) throw unknownMigration(migrationId);
    // Between the two reads the migration was admitted, has ended, or was cancelled by another request: decide again.
    if (latest.cancelRequestedAt !== undefined || latest.status !== record.status || refused.includes('record')) {
      if (latest.cancelRequestedAt !== undefined) return answer(latest, latest.status === 'CANCELLED');
      if (latest.endedAt !== undefined) throw tooLate(migrationId, `it has ended (${latest.status})`);
    }
    throw tooLate(migrationId, `the handover to ${latest.destination} is committed`);
  }
  await addEvent(migrationId, 'cancel requested');
  for (const request of await openRequests(migrationId)) {
    await failTask(request, { code: 'Cancelled', message: 'Cancelled on request.' });
  }
  return answer(record, false);
}

/**
 * The migration was started a moment ago, and admission has not stored its record yet: stores the record, cancelled, for admission to
 * find. Returns the record, this one or the one that admission has stored meanwhile.
 */
async function createCancelledRecord(migrationId: string): Promise<MigrationItem> {
  const { executionArn, status, startDate, input } = await getExecution(migrationId);
  const request = MigrationRequest.safeParse(JSON.parse(input ?? '{}')).data;
  if (status !== 'RUNNING' || startDate === undefined || request === undefined) {
    throw tooLate(migrationId, `it has ended (${status})`);
  }
  const migration = { migrationId, executionArn, requestedAt: startDate.toISOString(), request };
  const cancelled: MigrationItem = { ...newRecord(migration), cancelRequestedAt: isoNow() };
  const put = { TableName: CONTROL, Item: cancelled, ConditionExpression: 'attribute_not_exists(pk)' };
  const refused = await transact([{ name: 'record' as const, write: { Put: put } }, ...hostLinks(migration)]);
  if (refused.length === 0) {
    await addEvent(migrationId, 'cancel requested');
    return cancelled;
  }
  const admitted = await getRecord(migrationId);
  if (admitted === undefined) throw unknownMigration(migrationId);
  return admitted;
}

async function revoke(record: MigrationItem) {
  const queued = record.status === 'QUEUED';
  const note = {
    name: 'record' as const,
    write: {
      Update: {
        TableName: CONTROL,
        Key: migrationKey(record.migrationId),
        UpdateExpression: 'SET cancelRequestedAt = :now',
        // A queued migration has no commit record yet; the cancel of one that was admitted since has to be decided again.
        ConditionExpression: `attribute_not_exists(cancelRequestedAt) AND ${queued ? '#status = :queued' : 'attribute_not_exists(endedAt)'}`,
        ExpressionAttributeValues: { ':now': isoNow(), ...(queued && { ':queued': 'QUEUED' }) },
        ...(queued && { ExpressionAttributeNames: { '#status': 'status' } }),
      },
    },
  };
  if (queued) return transact([note]);
  const source = await getHost(record.source);
  return transact([
    note,
    {
      name: 'commit record' as const,
      write: {
        Update: {
          TableName: MAILBOX,
          Key: commitRecordKey(mailboxOfNode(source.nodeId), record.migrationId),
          UpdateExpression: 'SET #state = :revoked',
          ConditionExpression: '#state IN (:open, :revoked)',
          ExpressionAttributeNames: { '#state': 'state' },
          ExpressionAttributeValues: { ':revoked': 'REVOKED', ':open': 'OPEN' },
        },
      },
    },
  ]);
}

async function openRequests(migrationId: string): Promise<RequestItem[]> {
  const requests = await queryAll<RequestItem>({
    TableName: CONTROL,
    KeyConditionExpression: 'pk = :pk',
    ExpressionAttributeValues: { ':pk': requestsOf(migrationId) },
    ConsistentRead: true,
  });
  const stages = ['preflight', 'storage', 'precopy', 'cutover'];
  return requests.filter((request) => request.open && stages.includes(request.stage));
}

function tooLate(migrationId: string, why: string): HandoffError {
  return new HandoffError('AlreadyHandedOver', `${migrationId} cannot be cancelled: ${why}.`, {
    detail: { migrationId },
  });
}

function answer(record: MigrationItem, done: boolean): APIGatewayProxyStructuredResultV2 {
  return json(done ? 200 : 202, { migrationId: record.migrationId, status: done ? 'CANCELLED' : 'CANCELLING' });
}
