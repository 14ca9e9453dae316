import type { Json } from '../../core/service.ts';
import { runtimeFailure, StateFailure } from '../common/failures.ts';
import { callNaming, type TaskRequest } from './integration.ts';

const ERRORS = { prefix: 'Lambda', unmodelled: 'Lambda.AWSLambdaException' };

/**
 * `lambda:invoke`. The request's and the answer's `Payload` are JSON text, as on Lambda's own wire. A function that throws
 * fails the task with its error's name, and with Lambda's whole error object as the cause.
 */
export const invokeFunction = {
  async request(task: TaskRequest): Promise<Json> {
    const { Payload: payload = {}, ...rest } = task.arguments;
    const answer = await callNaming(ERRORS, task, 'lambda', 'Invoke', { ...rest, Payload: JSON.stringify(payload) });
    const text = typeof answer.Payload === 'string' && answer.Payload !== '' ? answer.Payload : 'null';
    if (answer.FunctionError !== undefined) throw functionFailure(text);
    return {
      ExecutedVersion: answer.ExecutedVersion ?? '$LATEST',
      Payload: parsed(text),
      StatusCode: answer.StatusCode ?? 200,
    };
  },
};

function functionFailure(text: string): StateFailure {
  const { errorType } = (parsed(text) ?? {}) as { errorType?: Json };
  return new StateFailure(typeof errorType === 'string' ? errorType : 'Lambda.Unknown', text);
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw runtimeFailure(`The function's payload is not JSON: ${text.slice(0, 100)}`);
  }
}
