import {
  DescribeExecutionCommand,
  type DescribeExecutionCommandOutput,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { executionArnOf } from './execution-names.ts';
import { sfn } from './runtime.ts';

/** What Step Functions knows of an execution; undefined when it knows none of that ARN, or none any more (after 90 days). */
export async function describeExecution(executionArn: string): Promise<DescribeExecutionCommandOutput | undefined> {
  try {
    return await sfn.send(new DescribeExecutionCommand({ executionArn }));
  } catch (error) {
    if (error instanceof Error && error.name === 'ExecutionDoesNotExist') return undefined;
    throw error;
  }
}

/**
 * Starts an execution. Returns its ARN, and whether it `existed`: Step Functions starts one execution of a name in 90 days, and takes a
 * repetition with the same input for the same execution while that runs.
 */
export async function startExecution(
  stateMachineArn: string,
  name: string,
  input: unknown,
): Promise<{ executionArn: string; existed: boolean }> {
  const executionArn = executionArnOf(stateMachineArn, name);
  try {
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name, input: JSON.stringify(input) }));
    return { executionArn, existed: false };
  } catch (error) {
    if (error instanceof Error && error.name === 'ExecutionAlreadyExists') return { executionArn, existed: true };
    throw error;
  }
}
