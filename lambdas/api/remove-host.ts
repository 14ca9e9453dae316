import { DeleteCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HostRemoval } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { getHost, listHosts } from '../hosts/hosts.ts';
import { getRecord } from '../migrations/migration-record.ts';
import { listPendingCleanups, pendingCleanupsOf, removePendingCleanup } from '../migrations/pending-cleanups.ts';
import { retireCommitRecord } from '../migrations/release.ts';
import { addEvent } from '../migrations/timeline.ts';
import { hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem, mailboxOfNode, type PendingCleanupItem } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { parseExecutionName } from '../platform/execution-names.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { heldOf, locks } from '../recovery/resource-audit.ts';
import { callerOf } from './caller.ts';
import { viewOf } from './host-view.ts';
import { hostIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/**
 * Removes a host from Handoff. Only a cordoned host that no migration holds resources of, or needs evidence from, can be removed:
 * the copy of a VM that is left on an unknown host would never be cleaned up.
 *
 * A host may have been lost with a pending cleanup that can never end. With `gone` an operator states that the host will not come back
 * with such a copy; the statement is stored in the migration's timeline. The pending cleanups are removed first: the statement holds
 * whatever else prevents the removal.
 */
export async function removeHost(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdIn(event);
  const { gone } = parse(HostRemoval, event.queryStringParameters ?? {}, 'query');
  const host = await getHost(hostId);
  const inUse = [...cordoned(host), ...heldOf(host).map(({ resource, owner }) => `${owner} holds its ${resource}`)];
  for await (const { vm, owner } of locks()) {
    if (await concerns(owner, hostId)) inUse.push(`${owner} still moves ${vm}, or needs an operator`);
  }
  if (inUse.length > 0) throw refused(hostId, inUse);

  const pendingCleanups = await listPendingCleanups();
  const own = pendingCleanups.filter((pendingCleanup) => pendingCleanup.hostId === hostId);
  if (gone === 'true') for (const pendingCleanup of own) await abandonCleanup(pendingCleanup, host, callerOf(event));
  else if (own.length > 0) throw refused(hostId, own.map(mayHold));

  const others: string[] = [];
  for (const pendingCleanup of pendingCleanups) {
    if (pendingCleanup.hostId !== hostId && (await concerns(pendingCleanup.migrationId, hostId)))
      others.push(mayHold(pendingCleanup));
  }
  if (others.length > 0) throw refused(hostId, others);
  await deleteHost(host);
  return json(200, viewOf(host));
}

const cordoned = ({ sk, state }: HostItem): string[] =>
  state === 'ACTIVE'
    ? [`it takes VMs: empty it first with "handoff evacuate ${sk}", which cordons it also if it is dead`]
    : [];

const mayHold = ({ hostId, vm, migrationId }: PendingCleanupItem): string =>
  `${hostId} did not answer when ${migrationId} ended, and may still hold a copy of ${vm}: bring it back, or, if it will never come back, repeat with "--gone"`;

const refused = (hostId: string, because: readonly string[]): HandoffError =>
  new HandoffError('HostInUse', `${hostId} cannot be removed: ${because.join('; ')}.`);

/** Whether a migration, or the cleanup of one, concerns this host. `owner` is the holder of a lock. */
async function concerns(owner: string, hostId: string): Promise<boolean> {
  const record = await getRecord(parseExecutionName(owner).migrationId);
  return record !== undefined && [record.source, record.destination].includes(hostId);
}

async function abandonCleanup(pendingCleanup: PendingCleanupItem, host: HostItem, by: string): Promise<void> {
  const { migrationId, vm, hostId } = pendingCleanup;
  await addEvent(migrationId, 'host declared lost', { host: hostId, vm, by });
  await removePendingCleanup(pendingCleanup);
  const record = await getRecord(migrationId);
  if (record === undefined || (await pendingCleanupsOf(record)).length > 0) return;
  // The commit record of a source that was removed before lies in a mailbox that is not known any more.
  const source = [host, ...(await listHosts())].find(({ sk }) => sk === record.source);
  if (source !== undefined) await retireCommitRecord(commitRecordKey(mailboxOfNode(source.nodeId), migrationId));
}

async function deleteHost({ sk }: HostItem): Promise<void> {
  const deleted = await unlessConditionFails(
    dynamo.send(
      new DeleteCommand({
        TableName: CONTROL,
        Key: hostKey(sk),
        // The host may have changed since it was read.
        ConditionExpression:
          '#state <> :active AND attribute_not_exists(outgoing) AND attribute_not_exists(incoming) AND ' +
          'attribute_not_exists(cutovers) AND attribute_not_exists(evacuation) AND queue = :none AND reservations = :none',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':active': 'ACTIVE', ':none': {} },
      }),
    ),
  );
  if (deleted === undefined) throw refused(sk, ['it was taken into use meanwhile; try again']);
}
