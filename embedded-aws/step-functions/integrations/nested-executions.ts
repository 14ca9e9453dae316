import type { Json, JsonObject } from '../../core/service.ts';
import { StateFailure } from '../common/failures.ts';
import { callNaming, camelCase, pascalCase, renameKeys, type TaskRequest } from './integration.ts';

const ERRORS = { prefix: 'StepFunctions', unmodelled: 'StepFunctions.AWSStepFunctionsException' };

/** `states:startExecution`: the input may be JSON. */
export const startExecution = {
  async request(task: TaskRequest): Promise<Json> {
    return renameKeys(await start(task), pascalCase);
  },
};

/**
 * `.sync` and `.sync:2`: the result is what DescribeExecution says of the ended child, with its input and output as text, or
 * parsed (`:2`). A child that did not succeed fails the task; a task that is aborted or timed out stops its child.
 */
export function startExecutionSync({ parsed }: { parsed: boolean }) {
  return {
    ...startExecution,
    async complete(task: TaskRequest, submitted: Json, interrupted: Promise<never>): Promise<Json> {
      const executionArn = (submitted as { ExecutionArn: string }).ExecutionArn;
      try {
        await Promise.race([task.whenEnded(executionArn), interrupted]);
      } catch (error) {
        const cause = 'The execution that started this one no longer waits for it.';
        task.call('states', 'StopExecution', { executionArn, cause }).catch(() => undefined);
        throw error;
      }
      const described = await callNaming(ERRORS, task, 'states', 'DescribeExecution', { executionArn });
      const result = childResult(described, parsed);
      if (described.status !== 'SUCCEEDED') throw new StateFailure('States.TaskFailed', JSON.stringify(result));
      return result;
    },
  };
}

function start(task: TaskRequest): Promise<JsonObject> {
  const { Input: input, ...rest } = task.arguments;
  const text = input === undefined || typeof input === 'string' ? input : JSON.stringify(input);
  return callNaming(ERRORS, task, 'states', 'StartExecution', {
    ...(renameKeys(rest, camelCase) as JsonObject),
    ...(text !== undefined && { input: text }),
  });
}

function childResult(described: JsonObject, parsed: boolean): JsonObject {
  const {
    input,
    output,
    startDate,
    stopDate,
    redriveCount: _,
    redriveStatus: __,
    redriveStatusReason: ___,
    ...rest
  } = described;
  const value = (text: Json | undefined) => (parsed ? (JSON.parse(String(text)) as Json) : (text ?? null));
  return {
    ...(renameKeys(rest, pascalCase) as JsonObject),
    Input: value(input),
    ...(output !== undefined && { Output: value(output) }),
    StartDate: milliseconds(startDate),
    StopDate: milliseconds(stopDate),
  };
}

/** The API's dates are seconds, a Task's result has milliseconds. */
function milliseconds(date: Json | undefined): number {
  return Math.round(Number(date) * 1_000);
}
