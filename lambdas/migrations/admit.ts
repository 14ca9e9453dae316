import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { MigrationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { MigrationId } from '../../contract/names.ts';
import { addressOf, getHosts, mustAccept } from '../hosts/hosts.ts';
import { hostKey, lockKey } from '../platform/control-keys.ts';
import {
  CONTROL,
  type HostItem,
  type LockItem,
  MAILBOX,
  type MigrationItem,
  mailboxOfNode,
} from '../platform/control-table.ts';
import { transact } from '../platform/dynamo.ts';
import { lambda } from '../platform/function.ts';
import { logger } from '../platform/log.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, isoNow, now } from '../platform/runtime.ts';
import { admission, RETRY_SECONDS } from './admission.ts';
import { getRecord, hostLinks, type NewMigration, newRecord } from './migration-record.ts';
import { addEvent } from './timeline.ts';
import { vmBusy } from './vm-lock.ts';

/** Step Functions adds this to a child execution's input by custom, to link the two in the console. */
const PARENT = 'AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID';
const Input = z.object({
  migrationId: MigrationId,
  executionArn: z.string(),
  requestedAt: z.string(),
  request: z.record(z.string(), z.unknown()),
});

/**
 * The first state of a migration: takes everything it needs at once, or nothing.
 *
 * One transaction makes the record, the VM's lock, the commit record and a slot on each host. When a host has no free slot, only the
 * record and the lock are made, the migration enters both hosts' queues, and the state machine tries again later.
 * A repetition, after an answer that was lost, finds its own items and changes nothing.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, executionArn, requestedAt, request: raw } = parse(Input, event, 'admission');
  const { [PARENT]: _parent, ...body } = raw;
  const request = parse(MigrationRequest, body, 'migration');
  const { source, destination } = await getHosts(request.source, request.destination);
  const wanted: Wanted = { migrationId, executionArn, requestedAt, request, source, destination };
  const known = await getRecord(migrationId);
  mustNotBeCancelled(known);
  if (known === undefined || known.status === 'QUEUED') mustAccept(destination);

  const decision = admission(source, destination, migrationId, now());
  if (decision.admit) {
    const refused = await take(wanted);
    if (refused.length === 0)
      await addEvent(migrationId, 'admitted', { source: source.sk, destination: destination.sk });
    const latest = refused.length === 0 ? undefined : await getRecord(migrationId);
    mustNotBeCancelled(latest);
    if (refused.length === 0 || latest?.admittedAt !== undefined) {
      return {
        admitted: true,
        vm: request.vm,
        source: addressOf(source),
        destination: addressOf(destination),
        policy: request.policy,
        forecastOnly: request.forecastOnly,
        commitRecord: commitRecordKey(mailboxOfNode(source.nodeId), migrationId),
      };
    }
    if (refused.includes('lock')) throw await vmBusy(request.vm);
    logger.info('Another migration took the slot first', { refused });
  }

  const waitedSeconds = (now() - Date.parse(requestedAt)) / 1000;
  const because = decision.admit ? 'another migration took the slot first' : decision.because;
  if (waitedSeconds >= request.policy.queueTimeoutSeconds) {
    throw new HandoffError('HostBusy', `Queued for ${Math.round(waitedSeconds)} s: ${because}.`);
  }
  await enqueue(wanted, known);
  return { admitted: false, vm: request.vm, because, retrySeconds: RETRY_SECONDS };
});

interface Wanted extends NewMigration {
  source: HostItem;
  destination: HostItem;
}

function mustNotBeCancelled(record: MigrationItem | undefined): void {
  if (record?.cancelRequestedAt !== undefined && record.admittedAt === undefined)
    throw new HandoffError('Cancelled', 'Cancelled on request before it began.');
}

/** The record and the lock, which a queued migration holds as well. Neither overwrites another migration's. */
function recordAndLock(wanted: Wanted, admitted: boolean) {
  const { migrationId, request } = wanted;
  return [
    {
      name: 'record' as const,
      write: {
        Put: {
          TableName: CONTROL,
          Item: {
            ...newRecord(wanted),
            ...(admitted && { status: 'PREFLIGHT', admittedAt: isoNow() }),
          } satisfies MigrationItem,
          ConditionExpression:
            'attribute_not_exists(pk) OR (#status = :queued AND attribute_not_exists(cancelRequestedAt))',
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: { ':queued': 'QUEUED' },
        },
      },
    },
    {
      name: 'lock' as const,
      write: {
        Put: {
          TableName: CONTROL,
          Item: { ...lockKey(request.vm), entity: 'LOCK', migrationId, requestedAt: isoNow() } satisfies LockItem,
          ConditionExpression: 'attribute_not_exists(pk) OR migrationId = :id',
          ExpressionAttributeValues: { ':id': migrationId },
        },
      },
    },
    ...hostLinks(wanted),
  ];
}

/** Everything at once. Returns the names of the writes that were refused. */
function take(wanted: Wanted) {
  const { migrationId, source, destination } = wanted;
  const slot = (host: HostItem, side: 'outgoing' | 'incoming', state: string) => ({
    name: side,
    write: {
      Update: {
        TableName: CONTROL,
        Key: hostKey(host.sk),
        UpdateExpression: 'ADD #side :me REMOVE queue.#id',
        ConditionExpression: `(attribute_not_exists(#side) OR size(#side) < :limit OR contains(#side, :id)) AND ${state}`,
        ExpressionAttributeNames: {
          '#side': side,
          '#id': migrationId,
          ...(state.includes('#state') && { '#state': 'state' }),
        },
        ExpressionAttributeValues: {
          ':me': new Set([migrationId]),
          ':id': migrationId,
          ':limit': host.limits[side],
          ...(state.includes(':active') && { ':active': 'ACTIVE' }),
        },
      },
    },
  });
  return transact([
    ...recordAndLock(wanted, true),
    slot(source, 'outgoing', 'attribute_exists(pk)'),
    // A host that was cordoned since it was read takes nothing.
    slot(destination, 'incoming', '#state = :active'),
    {
      name: 'commit record' as const,
      write: {
        Put: {
          TableName: MAILBOX,
          Item: {
            ...commitRecordKey(mailboxOfNode(source.nodeId), migrationId),
            migrationId,
            // A migration that is only to be forecast can never be handed over.
            state: wanted.request.forecastOnly ? 'REVOKED' : 'OPEN',
          },
          ConditionExpression: 'attribute_not_exists(pk)',
        },
      },
    },
  ]);
}

/** The record, the lock, and a position in both hosts' queues, which every repetition renews. */
async function enqueue(wanted: Wanted, known: MigrationItem | undefined): Promise<void> {
  const { migrationId, requestedAt } = wanted;
  if (known === undefined) {
    const refused = await transact(recordAndLock(wanted, false));
    if (refused.includes('record')) mustNotBeCancelled(await getRecord(migrationId));
    if (refused.includes('lock')) throw await vmBusy(wanted.request.vm);
    await addEvent(migrationId, 'queued', { source: wanted.source.sk, destination: wanted.destination.sk });
  }
  for (const host of [wanted.source, wanted.destination]) {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: hostKey(host.sk),
        UpdateExpression: 'SET queue.#id = :position',
        ConditionExpression: 'attribute_exists(pk)',
        ExpressionAttributeNames: { '#id': migrationId },
        ExpressionAttributeValues: {
          ':position': { since: host.queue[migrationId]?.since ?? Date.parse(requestedAt), seen: now() },
        },
      }),
    );
  }
}
