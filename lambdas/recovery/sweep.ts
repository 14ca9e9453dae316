import { DescribeInstanceInformationCommand } from '@aws-sdk/client-ssm';
import { FINAL_STATUSES, MigrationStatus } from '../../contract/api.ts';
import { listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { listPendingCleanups } from '../migrations/pending-cleanups.ts';
import { getLock } from '../migrations/vm-lock.ts';
import { migrationIdOf } from '../platform/control-keys.ts';
import { CONTROL, type MigrationItem } from '../platform/control-table.ts';
import { queryAll } from '../platform/dynamo.ts';
import { describeExecution } from '../platform/executions.ts';
import { count, lambda } from '../platform/function.ts';
import { logger } from '../platform/log.ts';
import { now, ssm } from '../platform/runtime.ts';
import { auditResources } from './resource-audit.ts';
import { recoveryNumberOf, startRecovery } from './start-recovery.ts';

/** Within this time the event of an execution's end starts a recovery (on-execution-stopped), and a resolve starts its own. */
const EVENTS_TAKE_MS = 90_000;
/** As many as SSM answers with in one page. */
const NODES_AT_ONCE = 50;

/**
 * Every few minutes: finds what an event that was never delivered has left undone. A migration that has not ended, and that no
 * execution is responsible for, is recovered; pending cleanups of hosts that are online again are started; leaks that are proven are
 * released, others counted for an operator.
 */
export const handler = lambda(async () => {
  const recovered: string[] = [];
  for await (const migrationId of unfinished()) {
    const record = await getRecord(migrationId);
    if (record === undefined || record.endedAt !== undefined || (await atWork(record))) continue;
    logger.warn('No execution runs for a migration that has not ended', { migrationId });
    count('MigrationAbandoned');
    await startRecovery(migrationId, recoveryNumberOf(record.executionArn), record.executionArn);
    recovered.push(migrationId);
  }
  const cleanups = await startDueCleanups();
  return { recovered, cleanups, leaks: await auditResources({ repair: true, commitRecords: false }) };
});

/** Starts the cleanups whose host is online again, unless a migration holds the VM's lock. Returns the migrations. */
async function startDueCleanups(): Promise<string[]> {
  const due = (await listPendingCleanups()).filter(({ nextAttemptAt }) => nextAttemptAt <= now());
  if (due.length === 0) return [];
  const online = await hostsOnline(new Set(due.map(({ hostId }) => hostId)));
  const started = new Set<string>();
  for (const { migrationId, hostId, vm } of due) {
    if (!online.has(hostId) || started.has(migrationId)) continue;
    const record = await getRecord(migrationId);
    if (record === undefined || (await atWork(record)) || (await getLock(vm)) !== undefined) continue;
    await startRecovery(migrationId, recoveryNumberOf(record.executionArn));
    started.add(migrationId);
  }
  return [...started];
}

/** Which of these hosts SSM is connected to. SSM may be wrong; the cleanup's own request then times out. */
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

async function* unfinished(): AsyncGenerator<string> {
  for (const status of MigrationStatus.options.filter((each) => !FINAL_STATUSES.includes(each))) {
    const keys = await queryAll<{ pk: string }>({
      TableName: CONTROL,
      IndexName: 'byStatus',
      KeyConditionExpression: '#status = :status',
      ExpressionAttributeNames: { '#status': 'status' },
      ExpressionAttributeValues: { ':status': status },
    });
    for (const { pk } of keys) yield migrationIdOf(pk);
  }
}

/** Whether its execution runs, or ended so lately that the next one may be about to start. */
async function atWork(record: MigrationItem): Promise<boolean> {
  const execution = await describeExecution(record.executionArn);
  if (execution?.status === 'RUNNING') return true;
  // It was never started (a resolve that wrote the record only), or Step Functions has forgotten it.
  const since = execution?.stopDate?.getTime() ?? Date.parse(record.operator?.at ?? record.requestedAt);
  return now() - since < EVENTS_TAKE_MS;
}
