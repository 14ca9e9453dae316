import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { DeleteCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HostRemoval } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { getHost, listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { retireCommitRecord } from '../migrations/release.ts';
import { addEvent } from '../migrations/timeline.ts';
import { CONTROL, type HostItem, hostKey, mailboxOfNode, type PendingCleanupItem } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { listPendingCleanups, pendingCleanupsOf, removePendingCleanup } from '../recovery/pending-cleanups.ts';
import { heldOf, locks } from '../recovery/resource-audit.ts';
import { callerOf } from './caller.ts';
import { hostIdOf, viewOf } from './hosts.ts';
import { json } from './problem.ts';

/**
 * Takes a host out of use for good. Only a cordoned host that no migration holds anything of, or needs as a witness, can go:
 * what is left of a VM on a host nobody knows any more would never be put right.
 *
 * A host may have gone without a word, with a flag that can never be followed up. That it will not come back with what was left
 * there is an operator's word (`gone`), kept in the migration's timeline. The flags go first: the word holds whatever else is in
 * the way of the removal.
 */
export async function removeHost(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdOf(event);
  const { gone } = parse(HostRemoval, event.queryStringParameters ?? {}, 'query');
  const host = await getHost(hostId);
  const inUse = [...cordoned(host), ...heldOf(host).map(({ resource, owner }) => `${owner} holds its ${resource}`)];
  for await (const { vm, owner } of locks()) {
    if (await concerns(owner, hostId)) inUse.push(`${owner} is still at work on ${vm}, or needs an operator`);
  }
  if (inUse.length > 0) throw refused(hostId, inUse);

  const pendingCleanups = await listPendingCleanups();
  const own = pendingCleanups.filter((pendingCleanup) => pendingCleanup.hostId === hostId);
  if (gone === 'true') for (const pendingCleanup of own) await forget(pendingCleanup, host, callerOf(event));
  else if (own.length > 0) throw refused(hostId, own.map(mayHold));

  const others: string[] = [];
  for (const pendingCleanup of pendingCleanups) {
    if (pendingCleanup.hostId !== hostId && (await concerns(pendingCleanup.migrationId, hostId)))
      others.push(mayHold(pendingCleanup));
  }
  if (others.length > 0) throw refused(hostId, others);
  await remove(host);
  return json(200, viewOf(host));
}

const cordoned = ({ sk, state }: HostItem): string[] =>
  state === 'ACTIVE'
    ? [`it takes VMs: empty it first (POST /hosts/${sk}/evacuate), which cordons it also if it is dead`]
    : [];

const mayHold = ({ hostId, vm, migrationId }: PendingCleanupItem): string =>
  `${hostId} did not answer when ${migrationId} ended, and may still hold a copy of ${vm}: bring it back, or say with gone=true that it is gone for good`;

const refused = (hostId: string, because: readonly string[]): HandoffError =>
  new HandoffError('HostInUse', `${hostId} cannot be removed: ${because.join('; ')}.`);

/** Whether a migration, or a follow-up to one, is about this host. */
async function concerns(owner: string, hostId: string): Promise<boolean> {
  const record = await getRecord(owner.replace(/\.\d+$/, ''));
  return record !== undefined && [record.source, record.destination].includes(hostId);
}

async function forget(pendingCleanup: PendingCleanupItem, host: HostItem, by: string): Promise<void> {
  const { migrationId, vm, hostId } = pendingCleanup;
  await addEvent(migrationId, 'host is gone for good', { host: hostId, vm, by });
  await removePendingCleanup(pendingCleanup);
  const record = await getRecord(migrationId);
  if (record === undefined || (await pendingCleanupsOf(record)).length > 0) return;
  // The commit record of a source that was removed before lies in a mailbox nobody knows any more.
  const source = [host, ...(await listHosts())].find(({ sk }) => sk === record.source);
  if (source !== undefined) await retireCommitRecord(commitRecordKey(mailboxOfNode(source.nodeId), migrationId));
}

async function remove({ sk }: HostItem): Promise<void> {
  try {
    await dynamo.send(
      new DeleteCommand({
        TableName: CONTROL,
        Key: hostKey(sk),
        // What was looked at may have changed since.
        ConditionExpression:
          '#state <> :active AND attribute_not_exists(outgoing) AND attribute_not_exists(incoming) AND ' +
          'attribute_not_exists(cutovers) AND attribute_not_exists(evacuation) AND line = :none AND reservations = :none',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':active': 'ACTIVE', ':none': {} },
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    throw refused(sk, ['it was taken into use meanwhile; look again']);
  }
}
