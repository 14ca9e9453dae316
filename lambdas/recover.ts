import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { Evidence } from '../contract/facts.ts';
import type { TicketState } from '../contract/mailbox.ts';
import { MigrationId } from '../contract/names.ts';
import { MAILBOX } from './shared/control-table.ts';
import { count, lambda } from './shared/function.ts';
import { parse } from './shared/parse.ts';
import { type Decision, decideRecovery } from './shared/recovery.ts';
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
/** Each action is tried again in the next round; an action that has not worked by then will not. */
const MAX_ROUNDS = 40;

export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'recovery');
  const ticket = await ticketState(input.ticket);
  const seen = {
    source: 'evidence' in input.source ? input.source.evidence : ('unreachable' as const),
    destination: 'evidence' in input.destination ? input.destination.evidence : ('unreachable' as const),
  };
  const patienceOver = now() - Date.parse(input.since) > PATIENCE_MS || input.round >= MAX_ROUNDS;
  const decision = limited(decideRecovery({ ticket, ...seen }), patienceOver);
  await addEvent(input.migrationId, `recovery: ${decision.kind}`, {
    ticket,
    source: input.source,
    destination: input.destination,
    ...decision,
  });
  count('RecoveryDecision', { kind: decision.kind });
  return { ...decision, ticket, waitSeconds: Math.min(30, 2 ** Math.min(input.round, 5)) };
});

function limited(decision: Decision, patienceOver: boolean): Decision {
  if (!patienceOver || decision.kind === 'settle' || decision.kind === 'operator') return decision;
  return { kind: 'operator', why: `${decision.why}, and waiting has not changed that` };
}

async function ticketState(key: { pk: string; sk: string }): Promise<Exclude<TicketState, 'OPEN'>> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: MAILBOX, Key: key, ConsistentRead: true }));
  const state = Item?.state as TicketState | undefined;
  if (state === 'COMMITTED' || state === 'REVOKED') return state;
  throw new Error(`The ticket ${key.sk} is ${state ?? 'missing'}; it must be revoked before recovery decides.`);
}
