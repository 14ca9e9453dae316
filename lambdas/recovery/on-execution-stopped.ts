import type { EventBridgeEvent } from 'aws-lambda';
import { z } from 'zod';
import { getRecord } from '../migrations/migration-record.ts';
import { recoverNext, recoveryNumber } from '../platform/executions.ts';
import { count, lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { requireEnv } from '../platform/runtime.ts';

const Detail = z.object({
  executionArn: z.string(),
  stateMachineArn: z.string(),
  /** Of Migrate a migration's id, of Recover `<migration id>.<number>`. */
  name: z.string(),
  status: z.enum(['FAILED', 'TIMED_OUT', 'ABORTED']),
});

/**
 * Hears of executions of Migrate and Recover that were stopped from outside, by StopExecution or by Step Functions itself: they
 * have settled nothing, and a mover may be at work. The next Recover takes over. Migrate also fails when it has settled a
 * migration that failed; that is left alone.
 */
export const handler = lambda(async (event: EventBridgeEvent<string, unknown>) => {
  const { executionArn, stateMachineArn, name, status } = parse(Detail, event.detail, 'event');
  const migrationId = name.replace(/\.\d+$/, '');
  if (status === 'FAILED') {
    const record = await getRecord(migrationId);
    const settled = record?.endedAt !== undefined && stateMachineArn !== requireEnv('RECOVER_MACHINE');
    // Admission refused it, or a person started something else: there is nothing to settle.
    if (record === undefined || settled) return;
  }
  count('ExecutionStopped', { status });
  await recoverNext(migrationId, recoveryNumber(name), executionArn);
});
