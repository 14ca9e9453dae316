import { DescribeExecutionCommand, type DescribeExecutionCommandOutput } from '@aws-sdk/client-sfn';
import { GetCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Observation } from '../../contract/forecast.ts';
import { executionArnOf } from '../platform/aws-console.ts';
import { CONTROL, type MigrationItem, migrationHostKey, migrationKey } from '../platform/control-table.ts';
import { dynamo, requireEnv, sfn } from '../platform/runtime.ts';

export async function getRecord(migrationId: string): Promise<MigrationItem | undefined> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: CONTROL, Key: migrationKey(migrationId), ConsistentRead: true }),
  );
  return Item as MigrationItem | undefined;
}

/** How many newer migrations of a VM are looked at: one of them that moved it is enough. */
const NEWER = 25;

/** Whether a newer migration left the VM elsewhere than on this one's source. None is at work while its lock is held. */
export async function movedOn({ vm, source, requestedAt }: MigrationItem): Promise<boolean> {
  const { Items } = await dynamo.send(
    new QueryCommand({
      TableName: CONTROL,
      IndexName: 'byVm',
      KeyConditionExpression: 'vm = :vm AND requestedAt > :mine',
      ExpressionAttributeValues: { ':vm': vm, ':mine': requestedAt },
      ScanIndexForward: false,
      Limit: NEWER,
    }),
  );
  const newer = await Promise.all((Items ?? []).map(({ pk }) => getRecord(String(pk).slice('MIGRATION#'.length))));
  // The newest that says where the VM is; one that was refused says nothing.
  const last = newer.find((record) => record?.runsOn !== undefined);
  return last !== undefined && last.runsOn !== source;
}

export interface NewMigration {
  migrationId: string;
  executionArn: string;
  requestedAt: string;
  request: MigrationRequest;
}

/** The record of a migration nothing has been done for yet. */
export function newRecord({ migrationId, executionArn, requestedAt, request }: NewMigration): MigrationItem {
  const { vm, source, destination, policy, reason, guestAddress, forecastOnly } = request;
  return {
    ...migrationKey(migrationId),
    entity: 'MIGRATION',
    migrationId,
    vm,
    source,
    destination,
    policy,
    checks: {},
    status: 'QUEUED',
    requestedAt,
    executionArn,
    ...(forecastOnly && { forecastOnly }),
    ...(guestAddress !== undefined && { guestAddress }),
    ...(reason !== undefined && { reason }),
  };
}

/**
 * What a migration came to. What the destination saw of the blackout is not waited for by the settlement, and so lies beside the
 * result.
 */
export function resultOf({ result, watched, runsOn, destination }: MigrationItem): MigrationItem['result'] {
  if (result === undefined || runsOn !== destination) return result;
  const unheard: Observation = { observed: false, why: 'nothing was heard of the watch at the destination' };
  return { ...result, blackout: { ...result.blackout, destination: watched ?? unheard } };
}

/** The writes by which a migration is found by its hosts. */
export function hostLinks({ migrationId, requestedAt, request: { source, destination } }: NewMigration) {
  return [source, destination].map((host) => ({
    name: 'links' as const,
    write: {
      Put: { TableName: CONTROL, Item: { ...migrationHostKey(migrationId, host), host, migrationId, requestedAt } },
    },
  }));
}

/** What Step Functions knows of a migration without a record. Fails with UnknownMigration. */
export async function getExecution(
  migrationId: string,
): Promise<DescribeExecutionCommandOutput & { executionArn: string }> {
  const executionArn = executionArnOf(requireEnv('MIGRATE_MACHINE'), migrationId);
  try {
    return { ...(await sfn.send(new DescribeExecutionCommand({ executionArn }))), executionArn };
  } catch (error) {
    if (error instanceof Error && error.name === 'ExecutionDoesNotExist') throw unknownMigration(migrationId);
    throw error;
  }
}

export function unknownMigration(migrationId: string, why = 'GET /migrations lists them'): HandoffError {
  return new HandoffError('UnknownMigration', `No migration "${migrationId}" is known; ${why}.`);
}
