import { QueryCommand } from '@aws-sdk/lib-dynamodb';
import { FINAL_STATUSES, MigrationStatus } from '../contract/api.ts';
import { CONTROL, type MigrationItem } from './shared/control-table.ts';
import { describeExecution, recoverNext, recoveryNumber } from './shared/executions.ts';
import { count, lambda, logger } from './shared/function.ts';
import { auditHoldings } from './shared/holdings.ts';
import { getRecord } from './shared/migration-record.ts';
import { dynamo, now } from './shared/surroundings.ts';

/** Within this time the event of the execution's end starts a recovery (watch-executions), and a resolve its own. */
const EVENTS_TAKE_MS = 90_000;

/**
 * Every few minutes: looks for what must not be and yet may, when an event never came. A migration that has not ended, and at
 * which no execution is at work, is recovered; leaks that are proven are given back, others counted for people to look at.
 */
export const handler = lambda(async () => {
  const recovered: string[] = [];
  for await (const migrationId of unfinished()) {
    const record = await getRecord(migrationId);
    if (record === undefined || record.endedAt !== undefined || (await atWork(record))) continue;
    logger.warn('No execution is at work on a migration that has not ended.', { migrationId });
    count('MigrationAbandoned');
    await recoverNext(migrationId, recoveryNumber(record.executionArn), record.executionArn);
    recovered.push(migrationId);
  }
  return { recovered, leaks: await auditHoldings({ repair: true, tickets: false }) };
});

async function* unfinished(): AsyncGenerator<string> {
  for (const status of MigrationStatus.options.filter((each) => !FINAL_STATUSES.includes(each))) {
    let from: Record<string, unknown> | undefined;
    do {
      const page = await dynamo.send(
        new QueryCommand({
          TableName: CONTROL,
          IndexName: 'byStatus',
          KeyConditionExpression: '#status = :status',
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: { ':status': status },
          ...(from && { ExclusiveStartKey: from }),
        }),
      );
      for (const { pk } of page.Items ?? []) yield String(pk).slice('MIGRATION#'.length);
      from = page.LastEvaluatedKey;
    } while (from !== undefined);
  }
}

/** Whether its execution runs, or ended so lately that the next one may be on its way. */
async function atWork(record: MigrationItem): Promise<boolean> {
  const execution = await describeExecution(record.executionArn);
  if (execution?.status === 'RUNNING') return true;
  // One that was never started: a resolve that got no further than the record.
  const since = execution?.stopDate?.getTime() ?? Date.parse(record.operator?.at ?? record.requestedAt);
  return now() - since < EVENTS_TAKE_MS;
}
