import type { EventBridgeEvent } from 'aws-lambda';
import { z } from 'zod';
import { getRecord } from '../migrations/migration-record.ts';
import { parseExecutionName } from '../platform/execution-names.ts';
import { count, lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { requireEnv } from '../platform/runtime.ts';
import { startRecovery } from './start-recovery.ts';

const Detail = z.object({
  executionArn: z.string(),
  stateMachineArn: z.string(),
  /** Of Migrate a migration's id, of Recover `<migration id>.<number>`. */
  name: z.string(),
  status: z.enum(['FAILED', 'TIMED_OUT', 'ABORTED']),
});

/**
 * Receives the events of executions of Migrate and Recover that were stopped from outside, by StopExecution or by Step Functions: they
 * have settled nothing, and a mover may run. The next Recover execution resumes the migration. Migrate also fails after it has settled
 * a migration that failed; such an execution needs no recovery.
 */
export const handler = lambda(async (event: EventBridgeEvent<string, unknown>) => {
  const { executionArn, stateMachineArn, name, status } = parse(Detail, event.detail, 'event');
  const { migrationId, recovery } = parseExecutionName(name);
  if (status === 'FAILED') {
    const record = await getRecord(migrationId);
    const settled = record?.endedAt !== undefined && stateMachineArn !== requireEnv('RECOVER_MACHINE');
    // Admission refused it, or a person started something else: there is nothing to settle.
    if (record === undefined || settled) return;
  }
  count('ExecutionStopped', { status });
  await startRecovery(migrationId, recovery, executionArn);
});
