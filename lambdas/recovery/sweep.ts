import { DescribeInstanceInformationCommand } from '@aws-sdk/client-ssm';
import { GetCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { FINAL_STATUSES, MigrationStatus } from '../../contract/api.ts';
import { listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { CONTROL, lockKey, type MigrationItem } from '../platform/control-table.ts';
import { describeExecution, recoverNext, recoveryNumber } from '../platform/executions.ts';
import { count, lambda, logger } from '../platform/function.ts';
import { dynamo, now, ssm } from '../platform/runtime.ts';
import { listPendingCleanups } from './pending-cleanups.ts';
import { auditHoldings } from './resource-audit.ts';

/** Within this time the event of the execution's end starts a recovery (watch-executions), and a resolve its own. */
const EVENTS_TAKE_MS = 90_000;
/** As many as SSM answers with in one page. */
const NODES_AT_ONCE = 50;

/**
 * Every few minutes: looks for what must not be and yet may, when an event never came. A migration that has not ended, and at
 * which no execution is at work, is recovered; flagged hosts that answer again are followed up; leaks that are proven are given
 * back, others counted for people to look at.
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
  const followedUp = await cleanup();
  return { recovered, followedUp, leaks: await auditHoldings({ repair: true, commitRecords: false }) };
});

/** Has those flags followed up whose host answers again, unless a migration is at work on the VM. Returns the migrations. */
async function cleanup(): Promise<string[]> {
  const due = (await listPendingCleanups()).filter(({ lookAgainAt }) => lookAgainAt <= now());
  if (due.length === 0) return [];
  const online = await hostsOnline(new Set(due.map(({ hostId }) => hostId)));
  const begun = new Set<string>();
  for (const { migrationId, hostId, vm } of due) {
    if (!online.has(hostId) || begun.has(migrationId)) continue;
    const record = await getRecord(migrationId);
    if (record === undefined || (await atWork(record)) || (await isLocked(vm))) continue;
    await recoverNext(migrationId, recoveryNumber(record.executionArn));
    begun.add(migrationId);
  }
  return [...begun];
}

/** Which of these hosts SSM is connected to. It may be wrong about that; who asks finds out. */
async function hostsOnline(hostIds: ReadonlySet<string>): Promise<Set<string>> {
  const hosts = (await listHosts()).filter(({ sk }) => hostIds.has(sk));
  const online = new Set<string>();
  for (let first = 0; first < hosts.length; first += NODES_AT_ONCE) {
    const asked = hosts.slice(first, first + NODES_AT_ONCE);
    const { InstanceInformationList = [] } = await ssm.send(
      new DescribeInstanceInformationCommand({
        Filters: [{ Key: 'InstanceIds', Values: asked.map(({ nodeId }) => nodeId) }],
        MaxResults: NODES_AT_ONCE,
      }),
    );
    const nodes = new Set(
      InstanceInformationList.flatMap(({ InstanceId, PingStatus }) => (PingStatus === 'Online' ? [InstanceId] : [])),
    );
    for (const { sk, nodeId } of asked) if (nodes.has(nodeId)) online.add(sk);
  }
  return online;
}

async function isLocked(vm: string): Promise<boolean> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: CONTROL, Key: lockKey(vm), ConsistentRead: true }));
  return Item !== undefined;
}

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
  // One that was never started (a resolve that got no further than the record), or that Step Functions has forgotten.
  const since = execution?.stopDate?.getTime() ?? Date.parse(record.operator?.at ?? record.requestedAt);
  return now() - since < EVENTS_TAKE_MS;
}
