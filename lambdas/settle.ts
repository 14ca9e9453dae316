import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import type { MigrationStatus } from '../contract/api.ts';
import { ticketKey } from '../contract/mailbox.ts';
import { Role } from '../contract/names.ts';
import { CutoverResult, PrecopyResult } from '../contract/reports.ts';
import {
  CONTROL,
  HISTORY_SECONDS,
  hostKey,
  lockKey,
  MAILBOX,
  type MigrationItem,
  mailboxOfNode,
  migrationKey,
} from './shared/control-table.ts';
import { count, lambda } from './shared/function.ts';
import { getHosts } from './shared/hosts.ts';
import { getRecord } from './shared/migration-record.ts';
import { parse } from './shared/parse.ts';
import { dynamo, isoNow, now } from './shared/surroundings.ts';
import { addEvent } from './shared/timeline.ts';

const Input = z.object({
  /** The execution's name, which a person may have chosen: one that is no migration's id has nothing to settle. */
  migrationId: z.string(),
  outcome: z.object({
    status: z.enum(['SUCCEEDED', 'FAILED', 'NEEDS_OPERATOR']),
    /** Who owns the VM now; absent when nothing was touched and nothing is known. */
    owner: z.union([Role, z.literal('none')]).optional(),
    failure: z.object({ code: z.string(), message: z.string() }).optional(),
  }),
  results: z.object({ precopy: PrecopyResult.optional(), cutover: CutoverResult.optional() }),
});
type Input = z.infer<typeof Input>;

/**
 * The last thing a migration does, whatever happened: writes the outcome, closes the ticket, and gives back everything the
 * migration held. It may run any number of times; the first outcome written stays.
 *
 * Order matters for a crash in between: the ticket first (nobody may hand over any more), then the outcome, then the things
 * others wait for. A VM that needs an operator keeps its lock, so that nothing else touches it.
 */
export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'settlement');
  const { migrationId } = input;
  const record = await getRecord(migrationId);
  if (record === undefined) {
    // Admission refused before anything was stored.
    return { migrationId, ...input.outcome };
  }
  const hosts = await getHosts(record.source, record.destination);
  await closeTicket(ticketKey(mailboxOfNode(hosts.source.nodeId), migrationId));
  const final = record.endedAt === undefined ? await writeOutcome(input, record) : record;
  await release(hostKey(record.source), 'outgoing', migrationId);
  await release(hostKey(record.destination), 'incoming', migrationId);
  if (final.status !== 'NEEDS_OPERATOR') await unlock(record.vm, migrationId);
  return {
    migrationId,
    status: final.status,
    ...(final.runsOn !== undefined && { runsOn: final.runsOn }),
    ...(final.result !== undefined && { result: final.result }),
    ...(final.failure !== undefined && { failure: final.failure }),
  };
});

/** A ticket nobody used is revoked; a committed one stays as the proof it is. Both may go when history goes. */
async function closeTicket(key: { pk: string; sk: string }): Promise<void> {
  const expiresAt = Math.floor(now() / 1000) + HISTORY_SECONDS;
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: MAILBOX,
        Key: key,
        UpdateExpression: 'SET #state = :revoked, expiresAt = :expiry',
        ConditionExpression: '#state = :open',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':revoked': 'REVOKED', ':open': 'OPEN', ':expiry': expiresAt },
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}

async function writeOutcome(input: Input, record: MigrationItem): Promise<MigrationItem> {
  const { outcome } = input;
  const { precopy, cutover } = input.results;
  const endedAt = isoNow();
  const runsOn =
    outcome.owner === 'source' ? record.source : outcome.owner === 'destination' ? record.destination : undefined;
  const cancelled = outcome.status === 'FAILED' && record.cancelRequestedAt !== undefined;
  const status: MigrationStatus = cancelled ? 'CANCELLED' : outcome.status;
  const failure = cancelled
    ? { code: 'Cancelled', message: 'Cancelled on request; the VM was not moved.' }
    : outcome.failure;
  // The VM is where it should be: what went wrong on the way is a caution, not a failure.
  const said = failure === undefined ? undefined : status === 'SUCCEEDED' ? { caution: failure } : { failure };
  const downtimeMs = cutover?.downtimeMs ?? precopy?.downtimeMs;
  const final: MigrationItem = {
    ...record,
    status,
    endedAt,
    ...(runsOn !== undefined && { runsOn }),
    ...said,
    result: {
      totalMs: Date.parse(endedAt) - Date.parse(record.requestedAt),
      ...(downtimeMs !== undefined && { downtimeMs }),
      ...(cutover !== undefined && { commitMs: cutover.commitMs }),
      ...((cutover ?? precopy) !== undefined && { bytesTransferred: (cutover ?? precopy)?.bytesTransferred }),
      ...(precopy !== undefined && {
        switched: precopy.switched,
        guaranteedHoldSeconds: precopy.guaranteedHoldSeconds,
      }),
    },
  };
  const fields = ['status', 'endedAt', 'runsOn', 'failure', 'caution', 'result'] as const;
  const present = fields.filter((field) => final[field] !== undefined);
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(record.migrationId),
        UpdateExpression: `SET ${present.map((field) => `#${field} = :${field}`).join(', ')}`,
        ConditionExpression: 'attribute_not_exists(endedAt)',
        ExpressionAttributeNames: Object.fromEntries([...present, 'endedAt'].map((field) => [`#${field}`, field])),
        ExpressionAttributeValues: Object.fromEntries(present.map((field) => [`:${field}`, final[field]])),
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    // Another run of this function was first; its word stands.
    const written = await getRecord(record.migrationId);
    if (written !== undefined) return written;
  }
  await addEvent(record.migrationId, 'ended', { status, ...(runsOn !== undefined && { runsOn }), ...said });
  count('MigrationEnded', { status });
  return final;
}

async function release(
  key: ReturnType<typeof hostKey>,
  side: 'outgoing' | 'incoming',
  migrationId: string,
): Promise<void> {
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: key,
      UpdateExpression: 'DELETE #side :me REMOVE line.#id, reservations.#id',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeNames: { '#side': side, '#id': migrationId },
      ExpressionAttributeValues: { ':me': new Set([migrationId]) },
    }),
  );
}

async function unlock(vm: string, migrationId: string): Promise<void> {
  try {
    await dynamo.send(
      new DeleteCommand({
        TableName: CONTROL,
        Key: lockKey(vm),
        ConditionExpression: 'migrationId = :id',
        ExpressionAttributeValues: { ':id': migrationId },
      }),
    );
  } catch (error) {
    // Gone already, or another migration's by now.
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
