import { GetCommand, QueryCommand, type QueryCommandInput } from '@aws-sdk/lib-dynamodb';
import type { AuditFinding } from '../../contract/api.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { getHost, listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { closeCommitRecord, endEvacuation, release, releaseCutover, unlock } from '../migrations/release.ts';
import { executionArnOf } from '../platform/aws-console.ts';
import { CONTROL, type HostItem, type LockItem, lockKey, MAILBOX, mailboxOfNode } from '../platform/control-table.ts';
import { describeExecution, recoveryNumber } from '../platform/executions.ts';
import { count, logger } from '../platform/function.ts';
import { dynamo, now, requireEnv } from '../platform/runtime.ts';
import { findLeaks, type Held, type Leak, type Owner } from './audit.ts';
import { listPendingCleanups } from './pending-cleanups.ts';

/** Everything that is held. Commit records lie among all there ever were, so they are looked at only when asked for. */
async function listHoldings({ commitRecords }: { commitRecords: boolean }): Promise<Held[]> {
  const hosts = await listHosts();
  const held = hosts.flatMap(heldOf);
  for await (const { vm, owner } of locks()) held.push({ resource: 'lock', of: vm, owner });
  if (commitRecords) for (const host of hosts) held.push(...(await openCommitRecords(host)));
  return held;
}

/** The VMs that are locked, and by whom: a migration, or a follow-up to one. */
export async function* locks(): AsyncGenerator<{ vm: string; owner: string }> {
  // The index has keys only, and lags: a lock may be gone, or another's, by now.
  const known = queryAll<LockItem>({
    TableName: CONTROL,
    IndexName: 'recent',
    KeyConditionExpression: 'entity = :lock',
    ExpressionAttributeValues: { ':lock': 'LOCK' },
  });
  for await (const { pk } of known) {
    const vm = pk.slice('VM#'.length);
    const { Item } = await dynamo.send(new GetCommand({ TableName: CONTROL, Key: lockKey(vm), ConsistentRead: true }));
    if (Item !== undefined) yield { vm, owner: (Item as LockItem).migrationId };
  }
}

/** What is held of one host. */
export function heldOf(host: HostItem): Held[] {
  const each = (resource: Held['resource'], owners: Iterable<string>): Held[] =>
    [...owners].map((owner) => ({ resource, of: host.sk, owner }));
  return [
    ...each('outgoing slot', host.outgoing ?? []),
    ...each('incoming slot', host.incoming ?? []),
    ...each('cutover slot', host.cutovers ?? []),
    ...each('queue position', Object.keys(host.line)),
    ...each('memory', Object.keys(host.reservations)),
    ...each('evacuation', host.evacuation === undefined ? [] : [host.evacuation]),
  ];
}

async function openCommitRecords(host: HostItem): Promise<Held[]> {
  const commitRecords = queryAll<{ sk: string }>({
    TableName: MAILBOX,
    KeyConditionExpression: 'pk = :mailbox AND begins_with(sk, :commitRecord)',
    FilterExpression: '#state = :open',
    ExpressionAttributeNames: { '#state': 'state' },
    ExpressionAttributeValues: { ':mailbox': mailboxOfNode(host.nodeId), ':commitRecord': 'COMMIT#', ':open': 'OPEN' },
    ConsistentRead: true,
  });
  const held: Held[] = [];
  for await (const { sk } of commitRecords)
    held.push({ resource: 'commit record', of: host.sk, owner: sk.slice('COMMIT#'.length) });
  return held;
}

async function* queryAll<T>(input: QueryCommandInput): AsyncGenerator<T> {
  let from: Record<string, unknown> | undefined;
  do {
    const page = await dynamo.send(new QueryCommand({ ...input, ...(from && { ExclusiveStartKey: from }) }));
    yield* (page.Items ?? []) as T[];
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
}

/** Read after the holdings: whoever held something by then had a record or an execution before. */
async function ownersOf(held: readonly Held[]): Promise<Map<string, Owner>> {
  const owners = new Map<string, Owner>();
  for (const { resource, owner } of held) {
    if (owners.has(owner)) continue;
    if (resource === 'evacuation') owners.set(owner, await execution(owner));
    // A lock may be a follow-up's.
    else if (recoveryNumber(owner) > 0) owners.set(owner, await execution(executionArnOf(recoverMachine(), owner)));
    else owners.set(owner, await migration(owner));
  }
  return owners;
}

async function migration(migrationId: string): Promise<Owner> {
  const record = await getRecord(migrationId);
  if (record === undefined) return { state: 'unknown' };
  const { status, endedAt } = record;
  if (endedAt === undefined) return { state: 'at work' };
  return { state: 'ended', at: Date.parse(endedAt), how: status, needsOperator: status === 'NEEDS_OPERATOR' };
}

const recoverMachine = () => requireEnv('RECOVER_MACHINE');

async function execution(executionArn: string): Promise<Owner> {
  const known = await describeExecution(executionArn);
  if (known === undefined) return { state: 'unknown' };
  if (known.status === 'RUNNING') return { state: 'at work' };
  return { state: 'ended', at: known.stopDate?.getTime() ?? 0, how: String(known.status) };
}

/** By the same code that settle uses. */
async function giveBack({ resource, of, owner }: Leak): Promise<void> {
  switch (resource) {
    case 'lock':
      return unlock(of, owner);
    case 'evacuation':
      return endEvacuation(of, owner);
    case 'outgoing slot':
      return release(of, 'outgoing', owner);
    case 'incoming slot':
    case 'queue position':
    case 'memory':
      return release(of, 'incoming', owner);
    case 'cutover slot':
      return releaseCutover(of, owner);
    case 'commit record':
      return closeCommitRecord(commitRecordKey(mailboxOfNode((await getHost(of)).nodeId), owner));
  }
}

/** Nothing that could be given back: what may be left on a host is put right by a follow-up, or by a person. */
async function hostsWithPendingCleanup(): Promise<AuditFinding[]> {
  return (await listPendingCleanups()).map(({ hostId, vm, migrationId, since, why }) => ({
    resource: 'pending cleanup',
    of: hostId,
    owner: migrationId,
    why: why ?? `it has not answered since ${since}; a copy of ${vm} may be left there, and is looked for when it does`,
    outcome: 'reported',
  }));
}

/**
 * Looks for leaks; gives back those that are proven when `repair` says so. Everything found is logged and counted. Flagged hosts
 * are listed besides; they were counted when they were flagged.
 */
export async function auditHoldings(options: { repair: boolean; commitRecords: boolean }): Promise<AuditFinding[]> {
  const held = await listHoldings(options);
  const leaks = findLeaks(held, await ownersOf(held), now());
  const findings: AuditFinding[] = [];
  for (const leak of leaks) {
    const { proven, ...rest } = leak;
    const repaired = proven && options.repair;
    if (repaired) await giveBack(leak);
    const finding: AuditFinding = { ...rest, outcome: repaired ? 'repaired' : 'reported' };
    logger.warn('Something is held that should not be.', { finding });
    count('LeakFound', { outcome: finding.outcome });
    findings.push(finding);
  }
  return [...findings, ...(await hostsWithPendingCleanup())];
}
