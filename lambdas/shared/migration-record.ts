import { DescribeExecutionCommand, type DescribeExecutionCommandOutput } from '@aws-sdk/client-sfn';
import { GetCommand } from '@aws-sdk/lib-dynamodb';
import type { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { executionArnOf } from './console.ts';
import { CONTROL, type MigrationItem, migrationHostKey, migrationKey } from './control-table.ts';
import { dynamo, setting, sfn } from './surroundings.ts';

export async function getRecord(migrationId: string): Promise<MigrationItem | undefined> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: CONTROL, Key: migrationKey(migrationId), ConsistentRead: true }),
  );
  return Item as MigrationItem | undefined;
}

export interface NewMigration {
  migrationId: string;
  executionArn: string;
  requestedAt: string;
  request: MigrationRequest;
}

/** The record of a migration nothing has been done for yet. */
export function newRecord({ migrationId, executionArn, requestedAt, request }: NewMigration): MigrationItem {
  const { vm, source, destination, policy, reason, guestAddress } = request;
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
    ...(guestAddress !== undefined && { guestAddress }),
    ...(reason !== undefined && { reason }),
  };
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
  const executionArn = executionArnOf(setting('MIGRATE_MACHINE'), migrationId);
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
