import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { Evidence } from '../../contract/facts.ts';
import { type CommitRecordState, reportKey } from '../../contract/mailbox.ts';
import { MigrationId, requestIdOf } from '../../contract/names.ts';
import { Report } from '../../contract/reports.ts';
import { withImages } from '../migrations/image-cleanup.ts';
import { getRecord, movedOn } from '../migrations/migration-record.ts';
import { addEvent } from '../migrations/timeline.ts';
import { MAILBOX, type MigrationItem } from '../platform/control-table.ts';
import { count, lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, now } from '../platform/runtime.ts';
import { decideCleanup } from './cleanup-decision.ts';
import { cleanupReport, operatorReport } from './operator-report.ts';
import { pendingCleanupsOf } from './pending-cleanups.ts';
import { type Decision, decideRecovery, type RecoveryInput } from './recovery.ts';

const Answer = z.union([
  z.object({ stage: z.literal('inspect'), evidence: Evidence }),
  z.object({ unreachable: z.literal(true), why: z.string() }),
]);
const Input = z.object({
  migrationId: MigrationId,
  commitRecord: z.object({ pk: z.string(), sk: z.string() }),
  round: z.int().min(1),
  /** When recovery began, ISO. */
  since: z.string(),
  source: Answer,
  destination: Answer,
});

/**
 * For how long recovery waits for evidence before it asks an operator. Longer than a host needs to reboot into its libvirt:
 * most unreachable hosts come back by themselves, and until then the VM is paused or running, never double.
 */
const PATIENCE_MS = 15 * 60_000;
/**
 * For how long a silent host is asked again although the owner is proven without it. Most are back soon (a libvirtd that
 * restarts, a short cut), and what the migration left there can then be put right; after that it is only flagged.
 */
const SILENT_HOST_PATIENCE_MS = 60_000;
/** libvirt ends a dead client's job, and with it a copy it was receiving, within its keepalive of 30 s. */
const FOLLOW_UP_PATIENCE_MS = 3 * 60_000;
/** Each action is tried again in the next round; an action that has not worked by then will not. */
const MAX_ROUNDS = 40;
/**
 * So many of them may pass while a post-copy goes on without its mover: with the pauses below, two hours. The guest runs, and nobody
 * could do more than libvirt does; what is left of it afterwards takes the rounds that remain.
 */
const POST_COPY_ROUNDS = 30;
const PAUSE_SECONDS = { most: 30, mostInPostCopy: 300 };

export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'recovery');
  const commitRecord = await commitRecordState(input.commitRecord);
  const seen = {
    source: 'evidence' in input.source ? input.source.evidence : ('unreachable' as const),
    destination: 'evidence' in input.destination ? input.destination.evidence : ('unreachable' as const),
  };
  const elapsedMs = now() - Date.parse(input.since);
  const record = await getRecord(input.migrationId);
  const word = record?.operator?.owner;
  const started = await startedByReport(input.commitRecord.pk, input.migrationId);
  const evidence = { commitRecord, ...seen, started, word };
  const cleanup = record?.endedAt !== undefined;
  const goesOn = inPostCopy(seen.destination) && input.round < POST_COPY_ROUNDS;
  const decision = cleanup
    ? patientCleanup(withImages(await followedUp(record, evidence), evidence), elapsedMs, input.round)
    : patient(withImages(decideRecovery(evidence), evidence), goesOn ? 0 : elapsedMs, input.round);
  await addEvent(input.migrationId, `recovery: ${decision.kind}`, {
    commitRecord,
    source: input.source,
    destination: input.destination,
    ...(started && { started }),
    ...(word !== undefined && { word }),
    ...decision,
  });
  count('RecoveryDecision', { kind: decision.kind });
  const report = cleanup
    ? cleanupReport(input.migrationId, decision.why)
    : operatorReport(input.migrationId, decision.why, evidence);
  return {
    ...decision,
    commitRecord,
    cleanup,
    goesOn,
    ...(decision.kind === 'operator' && { report }),
    waitSeconds: Math.min(goesOn ? PAUSE_SECONDS.mostInPostCopy : PAUSE_SECONDS.most, 2 ** Math.min(input.round, 10)),
  };
});

/** Its stream is not seen to be broken: the guest runs, and the rest of its memory comes. */
const inPostCopy = (destination: RecoveryInput['destination']): boolean =>
  destination !== 'unreachable' && destination.state === 'postcopy-running';

/** Puts off what more evidence could make better, and gives up what it has not made better by now. */
function patient(decision: Decision, elapsedMs: number, round: number): Decision {
  const lastRound = round >= MAX_ROUNDS;
  if (decision.kind === 'operator') return decision;
  if (
    decision.kind !== 'wait' &&
    decision.pendingCleanup.length > 0 &&
    elapsedMs <= SILENT_HOST_PATIENCE_MS &&
    !lastRound
  ) {
    return { kind: 'wait', why: `${decision.why}; the ${decision.pendingCleanup.join(' and the ')} may answer soon` };
  }
  if (decision.kind === 'settle' || (elapsedMs <= PATIENCE_MS && !lastRound)) return decision;
  return { kind: 'operator', why: `${decision.why}, and waiting has not changed that` };
}

/** A silent host is not waited for: it is looked at again later. The VM's lock is held for a short while only. */
function patientCleanup(decision: Decision, elapsedMs: number, round: number): Decision {
  if (decision.kind === 'settle' || decision.kind === 'operator') return decision;
  if (elapsedMs <= FOLLOW_UP_PATIENCE_MS && round < MAX_ROUNDS) return decision;
  return { kind: 'operator', why: `${decision.why}, and waiting has not changed that` };
}

async function followedUp(record: MigrationItem, evidence: RecoveryInput): Promise<Decision> {
  const pendingCleanups = await pendingCleanupsOf(record);
  const [first] = pendingCleanups;
  if (first === undefined)
    return { kind: 'settle', owner: 'none', why: 'no host is flagged any more', pendingCleanup: [] };
  const pendingCleanup = pendingCleanups.map(({ role }) => role);
  return decideCleanup({ ...evidence, owner: first.owner, pendingCleanup, movedOn: await movedOn(record) });
}

/** The outcome of the mover's switch, from the mailbox that holds its commit record: in the cutover's report, or in pre-copy's when it
 * converged by itself. A report is read here rather than believed from the execution's state: it may have come too late for that.
 */
async function startedByReport(mailbox: string, migrationId: string): Promise<boolean> {
  const reports = (['cutover', 'precopy'] as const).map((stage) =>
    reportKey(mailbox, requestIdOf(migrationId, stage, 'source', 1)),
  );
  const found = await Promise.all(
    reports.map((Key) => dynamo.send(new GetCommand({ TableName: MAILBOX, Key, ConsistentRead: true }))),
  );
  return found.some(({ Item }) => {
    const report = Report.safeParse(Item?.report).data;
    if (report?.kind !== 'succeeded' || report.migrationId !== migrationId) return false;
    return (
      report.result.stage === 'cutover' || (report.result.stage === 'precopy' && report.result.precopy === 'completed')
    );
  });
}

async function commitRecordState(key: { pk: string; sk: string }): Promise<Exclude<CommitRecordState, 'OPEN'>> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: MAILBOX, Key: key, ConsistentRead: true }));
  const state = Item?.state as CommitRecordState | undefined;
  if (state === 'COMMITTED' || state === 'REVOKED') return state;
  throw new Error(`The commit record ${key.sk} is ${state ?? 'missing'}; it must be revoked before recovery decides.`);
}
