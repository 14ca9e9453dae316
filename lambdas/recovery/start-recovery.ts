import { parseExecutionArn, parseExecutionName, recoveryName } from '../platform/execution-names.ts';
import { describeExecution, startExecution } from '../platform/executions.ts';
import { logger } from '../platform/log.ts';
import { requireEnv } from '../platform/runtime.ts';

/** A request id's attempt has room for so many (cdk/state-machines/recovery-states.ts); all of them were stopped on purpose by then. */
const MAX_RECOVERIES = 99;

/** The number of a Recover execution; 0 for Migrate's. */
export const recoveryNumberOf = (executionArn: string): number =>
  parseExecutionName(parseExecutionArn(executionArn).name).recovery;

/**
 * Starts the next Recover execution of a migration after the one with the number `after`, unless one runs. The numbers make it one
 * execution, however often this is called. `stoppedExecutionArn` is the ARN of a stopped execution. Returns the ARN of the
 * execution that runs; undefined when there have been too many.
 */
export async function startRecovery(
  migrationId: string,
  after: number,
  stoppedExecutionArn?: string,
): Promise<string | undefined> {
  for (let number = after + 1; number <= MAX_RECOVERIES; number++) {
    const input = { migrationId, number, ...(stoppedExecutionArn !== undefined && { stoppedExecutionArn }) };
    const { executionArn, existed } = await startExecution(
      requireEnv('RECOVER_MACHINE'),
      recoveryName(migrationId, number),
      input,
    );
    if (!existed || (await describeExecution(executionArn))?.status === 'RUNNING') return executionArn;
  }
  logger.error('Too many executions of Recover were stopped. Start one by hand, with another name', { migrationId });
  return undefined;
}
