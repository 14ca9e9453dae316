import type { DescribeExecutionCommandOutput } from '@aws-sdk/client-sfn';
import { QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Observation } from '../../contract/forecast.ts';
import { migrationHostKey, migrationIdOf, migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type MigrationItem } from '../platform/control-table.ts';
import { getItem, getItems } from '../platform/dynamo.ts';
import { executionArnOf } from '../platform/execution-names.ts';
import { describeExecution } from '../platform/executions.ts';
import { dynamo, requireEnv } from '../platform/runtime.ts';

export const getRecord = (migrationId: string): Promise<MigrationItem | undefined> =>
  getItem(CONTROL, migrationKey(migrationId));

/** The records of these migrations (100 at most), in the order of their ids, as they were a moment ago; those that are gone are left out. */
export async function getRecords(ids: readonly string[]): Promise<MigrationItem[]> {
  const records = await getItems<MigrationItem>(CONTROL, ids.map(migrationKey), { consistent: false });
  const byId = new Map(records.map((record) => [record.migrationId, record]));
  return ids.flatMap((id) => byId.get(id) ?? []);
}

/** How many newer migrations of a VM are read: one of them that moved it is enough. */
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
  const newer = await Promise.all((Items ?? []).map(({ pk }) => getRecord(migrationIdOf(String(pk)))));
  // The newest with a known end; a migration that was refused has none.
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
 * A migration's result. The settlement does not wait for the blackout that the destination observed, which is therefore an attribute
 * of its own.
 */
export function resultOf({ result, destinationBlackout, runsOn, destination }: MigrationItem): MigrationItem['result'] {
  if (result === undefined || runsOn !== destination) return result;
  const unreported: Observation = { observed: false, why: 'the destination has not reported its observation' };
  return { ...result, blackout: { ...result.blackout, destination: destinationBlackout ?? unreported } };
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
  const execution = await describeExecution(executionArn);
  if (execution === undefined) throw unknownMigration(migrationId);
  return { ...execution, executionArn };
}

export function unknownMigration(migrationId: string, why = '"handoff list" shows the known ones'): HandoffError {
  return new HandoffError('UnknownMigration', `No migration "${migrationId}" is known; ${why}.`);
}
