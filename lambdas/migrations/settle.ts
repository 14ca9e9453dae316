import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { UpdateCommand, type UpdateCommandInput } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import type { MigrationEnded, MigrationStatus } from '../../contract/api.ts';
import type { Observation } from '../../contract/forecast.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { Role } from '../../contract/names.ts';
import { CutoverResult, PrecopyResult } from '../../contract/reports.ts';
import { learnLink } from '../fleet/links.ts';
import { getHost, getHosts } from '../hosts/hosts.ts';
import { migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type MigrationItem, mailboxOfNode, type PendingCleanupItem } from '../platform/control-table.ts';
import { transact, unlessConditionFails } from '../platform/dynamo.ts';
import { parseExecutionArn } from '../platform/execution-names.ts';
import { count, lambda, observe } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, events, isoNow } from '../platform/runtime.ts';
import { missOf } from './forecast-calibration.ts';
import { getRecord, resultOf } from './migration-record.ts';
import {
  newPendingCleanup,
  pendingCleanupsOf,
  postponePendingCleanup,
  removePendingCleanup,
} from './pending-cleanups.ts';
import { closeCommitRecord, release, retireCommitRecord, unlock } from './release.ts';
import { addEvent } from './timeline.ts';

const Input = z.object({
  /** The execution's name, which a person may have chosen: one that is no migration's id has nothing to settle. */
  migrationId: z.string(),
  executionArn: z.string(),
  outcome: z.object({
    status: z.enum(['SUCCEEDED', 'FAILED', 'FORECASTED', 'NEEDS_OPERATOR']),
    /** Who owns the VM now; absent when nothing was changed and nothing is known. */
    owner: z.union([Role, z.literal('none')]).optional(),
    failure: z.object({ code: z.string(), message: z.string() }).optional(),
    /** The roles whose hosts did not answer, so that a copy of the VM may be left there. */
    pendingCleanup: z.array(Role).default([]),
    /** Whether the migration had ended before, and this execution was a cleanup of its silent hosts. */
    cleanup: z.boolean().optional(),
  }),
  results: z.object({ precopy: PrecopyResult.optional(), cutover: CutoverResult.optional() }),
});
type Input = z.infer<typeof Input>;

/**
 * The last step of every migration: writes the outcome, closes the commit record, and releases everything the migration held. It may
 * run any number of times; the first outcome written stays. An execution that was superseded by another one changes nothing.
 *
 * The order matters for a crash in between: the commit record first (no handover is possible any more), then the outcome, then what
 * other migrations wait for. A VM that needs an operator keeps its lock, so that no other migration changes it. Pending cleanups are
 * written together with the outcome: the lock, under which alone they are ended, is never free without them.
 */
export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'settlement');
  const { migrationId } = input;
  const record = await getRecord(migrationId);
  if (record === undefined) {
    // Admission refused before anything was stored.
    return { migrationId, ...input.outcome };
  }
  if (superseded(input, record)) return settlement(record);
  if (input.outcome.cleanup === true) {
    await settlePendingCleanups(input, record);
    return settlement(record);
  }
  const hosts = await getHosts(record.source, record.destination);
  const commitRecord = commitRecordKey(mailboxOfNode(hosts.source.nodeId), migrationId);
  await closeCommitRecord(commitRecord);
  const final = record.endedAt === undefined ? await writeOutcome(input, record) : record;
  if (superseded(input, final)) return settlement(final);
  await release(record.source, 'outgoing', migrationId);
  await release(record.destination, 'incoming', migrationId);
  if (final.status !== 'NEEDS_OPERATOR') {
    await unlock(record.vm, migrationId);
    // A cleanup still needs to know how the handover was decided.
    if (input.outcome.pendingCleanup.length === 0) await retireCommitRecord(commitRecord);
  }
  await learnLink(final);
  await publishMigrationEnded(final);
  // At least once, like the event: an alarm depends on it, so it must not be lost with the answer to the write above.
  count('MigrationEnded', { status: final.status });
  return settlement(final);
});

/** Ends the cleanups that succeeded and postpones the others. The outcome was written before; the lock is this execution's own. */
async function settlePendingCleanups({ outcome, executionArn }: Input, record: MigrationItem): Promise<void> {
  const pendingCleanups = await pendingCleanupsOf(record);
  const needsPerson = outcome.status === 'NEEDS_OPERATOR' ? outcome.failure?.message : undefined;
  const kept = pendingCleanups.filter(({ role }) => needsPerson !== undefined || outcome.pendingCleanup.includes(role));
  for (const pendingCleanup of pendingCleanups)
    await (kept.includes(pendingCleanup)
      ? postponePendingCleanup(pendingCleanup, needsPerson)
      : removePendingCleanup(pendingCleanup));
  const hosts = (of: readonly PendingCleanupItem[]) => of.map(({ hostId }) => hostId);
  if (needsPerson !== undefined) count('PendingCleanup', { why: 'needs a person' });
  if (pendingCleanups.length > 0) {
    await addEvent(record.migrationId, 'cleanup ended', {
      clear: hosts(pendingCleanups.filter((pendingCleanup) => !kept.includes(pendingCleanup))),
      pendingCleanup: hosts(kept),
      ...(needsPerson !== undefined && { why: needsPerson }),
    });
  }
  if (kept.length === 0) {
    const { nodeId } = await getHost(record.source);
    await retireCommitRecord(commitRecordKey(mailboxOfNode(nodeId), record.migrationId));
  }
  await unlock(record.vm, parseExecutionArn(executionArn).name);
}

const superseded = ({ executionArn }: Input, record: MigrationItem): boolean =>
  record.endedAt === undefined && record.executionArn !== executionArn;

const settlement = (record: MigrationItem) => {
  const { migrationId, status, runsOn, failure } = record;
  const result = resultOf(record);
  return {
    migrationId,
    status,
    ...(runsOn !== undefined && { runsOn }),
    ...(result !== undefined && { result }),
    ...(failure !== undefined && { failure }),
  };
};

const UNREPORTED: Observation = { observed: false, why: 'the mover ended before it could report' };

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
  // The VM is where it should be: what went wrong on the way is a warning, not a failure.
  const problem = failure === undefined ? undefined : status === 'SUCCEEDED' ? { warning: failure } : { failure };
  const downtimeMs = cutover?.downtimeMs ?? precopy?.downtimeMs;
  const activeMs = cutover?.activeMs ?? precopy?.activeMs;
  const guaranteedHoldSeconds = cutover?.guaranteedHoldSeconds ?? precopy?.guaranteedHoldSeconds;
  const final: MigrationItem = {
    ...record,
    status,
    endedAt,
    ...(runsOn !== undefined && { runsOn }),
    ...problem,
    result: {
      totalMs: Date.parse(endedAt) - Date.parse(record.requestedAt),
      ...(downtimeMs !== undefined && { downtimeMs }),
      ...(activeMs !== undefined && { activeMs }),
      ...(cutover !== undefined && { commitMs: cutover.commitMs, postCopy: cutover.postCopy }),
      ...((cutover ?? precopy) !== undefined && { bytesTransferred: (cutover ?? precopy)?.bytesTransferred }),
      ...(precopy !== undefined && {
        precopy: precopy.precopy,
        ...(guaranteedHoldSeconds !== undefined && { guaranteedHoldSeconds }),
      }),
      ...(outcome.owner === 'destination' && {
        blackout: { source: cutover?.blackout ?? precopy?.blackout ?? UNREPORTED },
        ...(record.migratedDisks !== undefined && {
          imagesLeft: { host: record.source, paths: record.migratedDisks.map(({ path }) => path) },
        }),
      }),
    },
  };
  const fields = ['status', 'endedAt', 'runsOn', 'failure', 'warning', 'result'] as const;
  const present = fields.filter((field) => final[field] !== undefined);
  const update = {
    TableName: CONTROL,
    Key: migrationKey(record.migrationId),
    UpdateExpression: `SET ${present.map((field) => `#${field} = :${field}`).join(', ')}`,
    // A cancel that was accepted since the record was read is part of the outcome.
    ConditionExpression: `attribute_not_exists(endedAt) AND executionArn = :me AND attribute_${record.cancelRequestedAt === undefined ? 'not_' : ''}exists(cancelRequestedAt)`,
    ExpressionAttributeNames: Object.fromEntries(present.map((field) => [`#${field}`, field])),
    ExpressionAttributeValues: {
      ...Object.fromEntries(present.map((field) => [`:${field}`, final[field]])),
      ':me': input.executionArn,
    },
  };
  const { owner, pendingCleanup } = outcome;
  const pendingCleanups =
    owner === 'source' || owner === 'destination'
      ? pendingCleanup.map((role) => newPendingCleanup(record, role, owner))
      : [];
  if (!(await written(update, pendingCleanups))) {
    const latest = await getRecord(record.migrationId);
    if (latest === undefined) throw new Error(`The record of ${record.migrationId} is gone.`);
    // Another run of this function was first, and its outcome stays; or a cancel came in between, or another execution.
    return latest.endedAt === undefined && !superseded(input, latest) ? writeOutcome(input, latest) : latest;
  }
  await addEvent(record.migrationId, 'ended', {
    status,
    ...(runsOn !== undefined && { runsOn }),
    ...(pendingCleanups.length > 0 && { pendingCleanup: pendingCleanups.map(({ hostId }) => hostId) }),
    ...problem,
  });
  if (status === 'SUCCEEDED') observeMiss(final);
  if (pendingCleanups.length > 0) count('PendingCleanup', { why: 'silent' });
  return final;
}

/** The forecast's error. The destination's observation of the blackout may not have arrived yet; the calibration includes it later. */
function observeMiss(record: MigrationItem): void {
  const miss = missOf(record);
  if (miss === undefined) return;
  observe('ForecastTimeError', 'Percent', Math.abs(miss.time.error) * 100);
  if (miss.blackout !== undefined) observe('ForecastBlackoutError', 'Milliseconds', Math.abs(miss.blackout.errorMs));
}

/** Whether the outcome was written, and the pending cleanups with it; not when another outcome, or another execution, was first. */
async function written(
  update: UpdateCommandInput & { UpdateExpression: string },
  pendingCleanups: readonly PendingCleanupItem[],
) {
  if (pendingCleanups.length > 0) {
    const puts = pendingCleanups.map((Item) => ({
      name: 'pending cleanup' as const,
      write: { Put: { TableName: CONTROL, Item } },
    }));
    return (await transact([{ name: 'record' as const, write: { Update: update } }, ...puts])).length === 0;
  }
  return (await unlessConditionFails(dynamo.send(new UpdateCommand(update)))) !== undefined;
}

/** The event for those who act on a migration's end: a pager, a ticket system, a program that waits. Published at least once. */
async function publishMigrationEnded({
  migrationId,
  vm,
  source,
  destination,
  status,
  runsOn,
  failure,
}: MigrationItem): Promise<void> {
  const detail: MigrationEnded = {
    migrationId,
    vm,
    source,
    destination,
    status,
    ...(runsOn !== undefined && { runsOn }),
    ...(failure !== undefined && { failure }),
  };
  const entry = { Source: 'handoff', DetailType: 'Migration Ended', Detail: JSON.stringify(detail) };
  const { FailedEntryCount, Entries } = await events.send(new PutEventsCommand({ Entries: [entry] }));
  if (FailedEntryCount) throw new Error(`EventBridge did not take the event: ${Entries?.[0]?.ErrorMessage}`);
}
