import type { AuditFinding } from '../../contract/api.ts';
import { COMMIT_PREFIX, commitRecordKey, parseMailboxItem } from '../../contract/mailbox.ts';
import { getHost, listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { listPendingCleanups } from '../migrations/pending-cleanups.ts';
import { closeCommitRecord, endEvacuation, release, releaseCutover, unlock } from '../migrations/release.ts';
import { getLock } from '../migrations/vm-lock.ts';
import { vmOfLock } from '../platform/control-keys.ts';
import { CONTROL, type HostItem, type LockItem, MAILBOX, mailboxOfNode } from '../platform/control-table.ts';
import { queryAll } from '../platform/dynamo.ts';
import { executionArnOf, parseExecutionName } from '../platform/execution-names.ts';
import { describeExecution } from '../platform/executions.ts';
import { count } from '../platform/function.ts';
import { logger } from '../platform/log.ts';
import { now, requireEnv } from '../platform/runtime.ts';
import { findLeaks, type Held, type Leak, type Owner } from './leaks.ts';

/** Everything that is held. Commit records are read on request only: the open ones lie among all there ever were. */
async function listHeld({ commitRecords }: { commitRecords: boolean }): Promise<Held[]> {
  const hosts = await listHosts();
  const held = hosts.flatMap(heldOf);
  for await (const { vm, owner } of locks()) held.push({ resource: 'lock', of: vm, owner });
  if (commitRecords) for (const host of hosts) held.push(...(await openCommitRecords(host)));
  return held;
}

/** The VMs that are locked, and the holder of each lock. */
export async function* locks(): AsyncGenerator<{ vm: string; owner: string }> {
  // The index has keys only, and lags: a lock may be gone, or have another holder, by now.
  const known = await queryAll<LockItem>({
    TableName: CONTROL,
    IndexName: 'recent',
    KeyConditionExpression: 'entity = :lock',
    ExpressionAttributeValues: { ':lock': 'LOCK' },
  });
  for (const { pk } of known) {
    const vm = vmOfLock(pk);
    const lock = await getLock(vm);
    if (lock !== undefined) yield { vm, owner: lock.migrationId };
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
    ...each('queue position', Object.keys(host.queue)),
    ...each('memory', Object.keys(host.reservations)),
    ...each('evacuation', host.evacuation === undefined ? [] : [host.evacuation]),
  ];
}

async function openCommitRecords(host: HostItem): Promise<Held[]> {
  const commitRecords = await queryAll<{ sk: string }>({
    TableName: MAILBOX,
    KeyConditionExpression: 'pk = :mailbox AND begins_with(sk, :commitRecord)',
    FilterExpression: '#state = :open',
    ExpressionAttributeNames: { '#state': 'state' },
    ExpressionAttributeValues: {
      ':mailbox': mailboxOfNode(host.nodeId),
      ':commitRecord': COMMIT_PREFIX,
      ':open': 'OPEN',
    },
    ConsistentRead: true,
  });
  return commitRecords.map(({ sk }) => ({ resource: 'commit record', of: host.sk, owner: parseMailboxItem(sk)!.id }));
}

/** Read after what is held: every holder of something had a record or an execution before. */
async function ownersOf(held: readonly Held[]): Promise<Map<string, Owner>> {
  const owners = new Map<string, Owner>();
  for (const { resource, owner } of held) {
    if (owners.has(owner)) continue;
    if (resource === 'evacuation') owners.set(owner, await execution(owner));
    // A cleanup holds its VM's lock in the name of its execution.
    else if (parseExecutionName(owner).recovery > 0)
      owners.set(owner, await execution(executionArnOf(recoverMachine(), owner)));
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

/** With the same code as settle. */
async function releaseLeak({ resource, of, owner }: Leak): Promise<void> {
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

/** Not for release: what may be left on a host is removed by a cleanup, or by an operator. */
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
 * Finds leaks, and with `repair` releases those that are proven. Every leak is logged and counted. Pending cleanups are listed too;
 * they were counted when they were written.
 */
export async function auditResources(options: { repair: boolean; commitRecords: boolean }): Promise<AuditFinding[]> {
  const held = await listHeld(options);
  const leaks = findLeaks(held, await ownersOf(held), now());
  const findings: AuditFinding[] = [];
  for (const leak of leaks) {
    const { proven, ...rest } = leak;
    const repaired = proven && options.repair;
    if (repaired) await releaseLeak(leak);
    const finding: AuditFinding = { ...rest, outcome: repaired ? 'repaired' : 'reported' };
    logger.warn('A resource is held that should not be', { migrationId: leak.owner, finding });
    count('LeakFound', { outcome: finding.outcome });
    findings.push(finding);
  }
  return [...findings, ...(await hostsWithPendingCleanup())];
}
