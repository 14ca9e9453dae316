import { StartExecutionCommand } from '@aws-sdk/client-sfn';
import type { EventBridgeEvent } from 'aws-lambda';
import { z } from 'zod';
import { count, lambda, logger } from './shared/function.ts';
import { getRecord } from './shared/migration-record.ts';
import { parse } from './shared/parse.ts';
import { sfn } from './shared/surroundings.ts';

const Detail = z.object({
  executionArn: z.string(),
  stateMachineArn: z.string(),
  /** A migration's id, or of an execution that took over already, `<migration id>.<number>`. */
  name: z.string(),
  status: z.enum(['FAILED', 'TIMED_OUT', 'ABORTED']),
});

/** Somebody stops whatever takes over, again and again: by then it is on purpose. */
const MAX_TAKEOVERS = 20;

/**
 * Hears of migrations whose execution was stopped from outside, by StopExecution or by Step Functions itself: it has settled
 * nothing, and its mover may be at work. Another execution takes over and settles. A failed execution that did settle is left
 * alone. The successor's name follows from the stopped one's, so that an event that comes twice starts one.
 */
export const handler = lambda(async (event: EventBridgeEvent<string, unknown>) => {
  const { executionArn, stateMachineArn, name, status } = parse(Detail, event.detail, 'event');
  const [, migrationId = name, number = '0'] = /^(.+)\.(\d+)$/.exec(name) ?? [];
  if (status === 'FAILED') {
    const record = await getRecord(migrationId);
    if (record === undefined || record.endedAt !== undefined) return;
  }
  count('ExecutionStopped', { status });
  const next = Number(number) + 1;
  if (next > MAX_TAKEOVERS) {
    logger.error('Nobody takes over any more; start an execution by hand, its name ending in the next number.', {
      name,
    });
    return;
  }
  const input = JSON.stringify({ takesOver: executionArn, status });
  try {
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name: `${migrationId}.${next}`, input }));
  } catch (error) {
    if (!(error instanceof Error && error.name === 'ExecutionAlreadyExists')) throw error;
  }
});
