import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { Evidence } from '../contract/facts.ts';
import type { TicketState } from '../contract/mailbox.ts';
import { MigrationId } from '../contract/names.ts';
import { MAILBOX } from './shared/control-table.ts';
import { count, lambda } from './shared/function.ts';
import { getRecord } from './shared/migration-record.ts';
import { parse } from './shared/parse.ts';
import { type Decision, decideRecovery } from './shared/recovery.ts';
import { operatorReport } from './shared/recovery-report.ts';
import { dynamo, now } from './shared/surroundings.ts';
import { addEvent } from './shared/timeline.ts';

const Answer = z.union([
  z.object({ stage: z.literal('inspect'), evidence: Evidence }),
  z.object({ unreachable: z.literal(true), why: z.string() }),
]);
const Input = z.object({
  migrationId: MigrationId,
  ticket: z.object({ pk: z.string(), sk: z.string() }),
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
/** Each action is tried again in the next round; an action that has not worked by then will not. */
const MAX_ROUNDS = 40;

export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'recovery');
  const ticket = await ticketState(input.ticket);
  const seen = {
    source: 'evidence' in input.source ? input.source.evidence : ('unreachable' as const),
    destination: 'evidence' in input.destination ? input.destination.evidence : ('unreachable' as const),
  };
  const elapsedMs = now() - Date.parse(input.since);
  const word = (await getRecord(input.migrationId))?.operator?.owner;
  const evidence = { ticket, ...seen, word };
  const decision = patient(decideRecovery(evidence), elapsedMs, input.round);
  await addEvent(input.migrationId, `recovery: ${decision.kind}`, {
    ticket,
    source: input.source,
    destination: input.destination,
    ...(word !== undefined && { word }),
    ...decision,
  });
  count('RecoveryDecision', { kind: decision.kind });
  const report = operatorReport(input.migrationId, decision.why, evidence);
  return {
    ...decision,
    ticket,
    ...(decision.kind === 'operator' && { report }),
    waitSeconds: Math.min(30, 2 ** Math.min(input.round, 5)),
  };
});

/** Puts off what more evidence could make better, and gives up what it has not made better by now. */
function patient(decision: Decision, elapsedMs: number, round: number): Decision {
  const lastRound = round >= MAX_ROUNDS;
  if (decision.kind === 'operator') return decision;
  if (
    decision.kind !== 'wait' &&
    decision.flagged !== undefined &&
    elapsedMs <= SILENT_HOST_PATIENCE_MS &&
    !lastRound
  ) {
    return { kind: 'wait', why: `${decision.why}; the ${decision.flagged} may answer soon` };
  }
  if (decision.kind === 'settle' || (elapsedMs <= PATIENCE_MS && !lastRound)) return decision;
  return { kind: 'operator', why: `${decision.why}, and waiting has not changed that` };
}

async function ticketState(key: { pk: string; sk: string }): Promise<Exclude<TicketState, 'OPEN'>> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: MAILBOX, Key: key, ConsistentRead: true }));
  const state = Item?.state as TicketState | undefined;
  if (state === 'COMMITTED' || state === 'REVOKED') return state;
  throw new Error(`The ticket ${key.sk} is ${state ?? 'missing'}; it must be revoked before recovery decides.`);
}
