import {
  DescribeExecutionCommand,
  type DescribeExecutionCommandOutput,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { executionArnOf } from './aws-console.ts';
import { logger } from './function.ts';
import { requireEnv, sfn } from './runtime.ts';

/** What Step Functions knows of an execution; undefined when it knows none of that name, or none any more (after 90 days). */
export async function describeExecution(executionArn: string): Promise<DescribeExecutionCommandOutput | undefined> {
  try {
    return await sfn.send(new DescribeExecutionCommand({ executionArn }));
  } catch (error) {
    if (error instanceof Error && error.name === 'ExecutionDoesNotExist') return undefined;
    throw error;
  }
}

/** The attempts of a request id have room for so many (see recovery-states.ts); somebody stops them all, on purpose, by then. */
const MAX_RECOVERIES = 99;

/** A Recover execution's number, from its name or ARN; 0 for Migrate's. */
export const recoveryNumber = (nameOrArn: string): number => Number(/\.(\d+)$/.exec(nameOrArn)?.[1] ?? 0);

/**
 * Starts the next Recover execution of a migration after the one with the number `after`, unless one is at work. The numbers
 * make it one execution, whoever asks how often. `stoppedExecutionArn` is the ARN of a stopped execution. Returns the ARN of the
 * execution at work; undefined when there have been too many.
 */
export async function recoverNext(
  migrationId: string,
  after: number,
  stoppedExecutionArn?: string,
): Promise<string | undefined> {
  const stateMachineArn = requireEnv('RECOVER_MACHINE');
  for (let number = after + 1; number <= MAX_RECOVERIES; number++) {
    const name = `${migrationId}.${number}`;
    const input = JSON.stringify({
      migrationId,
      number,
      ...(stoppedExecutionArn !== undefined && { stoppedExecutionArn }),
    });
    try {
      const { executionArn } = await sfn.send(new StartExecutionCommand({ stateMachineArn, name, input }));
      return executionArn;
    } catch (error) {
      if (!(error instanceof Error && error.name === 'ExecutionAlreadyExists')) throw error;
    }
    const executionArn = executionArnOf(stateMachineArn, name);
    if ((await describeExecution(executionArn))?.status === 'RUNNING') return executionArn;
  }
  logger.error('Too many executions of Recover were stopped; start one by hand, with another name.', { migrationId });
  return undefined;
}
