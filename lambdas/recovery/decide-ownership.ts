import { z } from 'zod';
import { decideCleanup } from '../../common/ownership/decide-cleanup.ts';
import { decideImages } from '../../common/ownership/decide-images.ts';
import { decideOwnership, type OwnershipDecision } from '../../common/ownership/decide-ownership.ts';
import { type HostEvidence, type OwnershipEvidence, stateOf } from '../../common/ownership/evidence.ts';
import { runsInPostCopy } from '../../common/ownership/post-copy.ts';
import { Evidence } from '../../contract/facts.ts';
import { type CommitRecordState, reportKey } from '../../contract/mailbox.ts';
import { MigrationId, requestIdOf } from '../../contract/names.ts';
import { Report } from '../../contract/reports.ts';
import { getRecord, movedOn } from '../migrations/migration-record.ts';
import { pendingCleanupsOf } from '../migrations/pending-cleanups.ts';
import { addEvent } from '../migrations/timeline.ts';
import { MAILBOX, type MigrationItem } from '../platform/control-table.ts';
import { getItem } from '../platform/dynamo.ts';
import { count, lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { now } from '../platform/runtime.ts';
import { cleanupReport, operatorReport } from './operator-report.ts';
import { pauseSeconds, type Round, waitsForPostCopy, withCleanupPatience, withPatience } from './patience.ts';

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

export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'recovery');
  const { migrationId } = input;
  const commitRecord = await readCommitRecord(input.commitRecord);
  const record = await getRecord(migrationId);
  const startReported = await readStartReport(input.commitRecord.pk, migrationId);
  const operatorDecision = record?.operator?.owner;
  const evidence: OwnershipEvidence = {
    commitRecord,
    source: evidenceIn(input.source),
    destination: evidenceIn(input.destination),
    startReported,
    operatorDecision,
  };
  const round: Round = {
    round: input.round,
    elapsedMs: now() - Date.parse(input.since),
    runsInPostCopy: runsInPostCopy(stateOf(evidence.destination)),
  };
  const cleanup = record?.endedAt !== undefined;
  const decision = cleanup
    ? withCleanupPatience(decideImages(await decidePendingCleanup(record, evidence), evidence), round)
    : withPatience(decideImages(decideOwnership(evidence), evidence), round);
  await addEvent(migrationId, `recovery: ${decision.kind}`, {
    commitRecord,
    source: input.source,
    destination: input.destination,
    ...(startReported && { startReported }),
    ...(operatorDecision !== undefined && { operatorDecision }),
    ...decision,
  });
  count('RecoveryDecision', { kind: decision.kind });
  return {
    ...decision,
    commitRecord,
    cleanup,
    waitsForPostCopy: waitsForPostCopy(round),
    waitSeconds: pauseSeconds(round),
    ...(decision.kind === 'operator' && {
      report: cleanup ? cleanupReport(migrationId, decision.why) : operatorReport(migrationId, decision.why, evidence),
    }),
  };
});

const evidenceIn = (answer: z.infer<typeof Answer>): HostEvidence =>
  'evidence' in answer ? answer.evidence : 'unreachable';

async function decidePendingCleanup(record: MigrationItem, evidence: OwnershipEvidence): Promise<OwnershipDecision> {
  const pending = await pendingCleanupsOf(record);
  const [first] = pending;
  if (first === undefined) {
    return { kind: 'settle', owner: 'none', why: 'no cleanup is pending any more', pendingCleanup: [] };
  }
  return decideCleanup({
    ...evidence,
    owner: first.owner,
    pendingCleanup: pending.map(({ role }) => role),
    movedOn: await movedOn(record),
  });
}

/**
 * Whether the mover reported that the destination runs the VM (OwnershipEvidence), in the mailbox that holds its commit record: in the
 * cutover's report, or in pre-copy's when the copy converged by itself. The report is read here instead of from the execution's
 * state, because it may have come too late for that.
 */
async function readStartReport(mailbox: string, migrationId: string): Promise<boolean> {
  const reports = (['cutover', 'precopy'] as const).map((stage) =>
    reportKey(mailbox, requestIdOf(migrationId, stage, 'source', 1)),
  );
  const found = await Promise.all(reports.map((key) => getItem<{ report?: unknown }>(MAILBOX, key)));
  return found.some((item) => {
    const report = Report.safeParse(item?.report).data;
    if (report?.kind !== 'succeeded' || report.migrationId !== migrationId) return false;
    return (
      report.result.stage === 'cutover' || (report.result.stage === 'precopy' && report.result.precopy === 'completed')
    );
  });
}

async function readCommitRecord(key: { pk: string; sk: string }): Promise<OwnershipEvidence['commitRecord']> {
  const state = (await getItem<{ state: CommitRecordState }>(MAILBOX, key))?.state;
  if (state === 'COMMITTED' || state === 'REVOKED') return state;
  throw new Error(`The commit record ${key.sk} is ${state ?? 'missing'}; it must be revoked before recovery decides.`);
}
