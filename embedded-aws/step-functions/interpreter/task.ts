import type { JsonObject } from '../../core/service.ts';
import { runtimeFailure, TaskTimeout } from '../common/failures.ts';
import { COMPLETE, errorDetails } from '../common/history.ts';
import { checkedPayload, type Payload } from '../common/payload.ts';
import type { TaskToken } from '../common/task-tokens.ts';
import type { TaskState } from '../definition/definition.ts';
import { isObject } from '../diagnostics/fields.ts';
import type { TaskRequest } from '../integrations/integration.ts';
import { Deadlines } from './deadlines.ts';
import type { Outcome, Visit } from './visit.ts';

/** One attempt of a task: evaluate the arguments, make the request, wait for what the integration waits for, conclude. */
export async function attemptTask(visit: Visit, state: TaskState): Promise<Outcome> {
  const { run } = visit.branch;
  const token = state.integration.waitsForToken ? run.environment.tokens.issue(run.executionArn) : undefined;
  visit.taskToken = token?.text;
  try {
    const parameters = state.arguments ? visit.payload(await visit.fill(state.arguments), 'arguments') : visit.input;
    const { timeoutSeconds, heartbeatSeconds } = await limits(visit, state);
    const { resourceType, resource } = state.integration;
    visit.record('TaskScheduled', {
      taskScheduledEventDetails: {
        resourceType,
        resource,
        region: run.environment.region,
        parameters: parameters.text,
        ...(timeoutSeconds !== undefined && { timeoutInSeconds: timeoutSeconds }),
        ...(heartbeatSeconds !== undefined && { heartbeatInSeconds: heartbeatSeconds }),
      },
    });
    visit.record('TaskStarted', { taskStartedEventDetails: { resourceType, resource } });
    const deadlines = new Deadlines(run.environment.clock, timeoutSeconds, token && heartbeatSeconds);
    if (token) token.onHeartbeat = () => deadlines.heartbeat();
    const result = await recorded(visit, state, () => perform(visit, state, parameters, token, deadlines));
    return await visit.conclude(state, result, { result: result.value });
  } finally {
    token?.close();
  }
}

/** TimeoutSeconds and HeartbeatSeconds, evaluated. */
async function limits(visit: Visit, state: TaskState): Promise<{ timeoutSeconds?: number; heartbeatSeconds?: number }> {
  const limits: { timeoutSeconds?: number; heartbeatSeconds?: number } = {};
  if (state.timeoutSeconds) limits.timeoutSeconds = await visit.fillNumber(state.timeoutSeconds, 'TimeoutSeconds', 1);
  if (state.heartbeatSeconds) {
    limits.heartbeatSeconds = await visit.fillNumber(state.heartbeatSeconds, 'HeartbeatSeconds', 1);
  }
  if ((limits.heartbeatSeconds ?? 0) >= (limits.timeoutSeconds ?? Number.POSITIVE_INFINITY)) {
    visit.failEvaluation(
      'The value of HeartbeatSeconds must be smaller than that of TimeoutSeconds.',
      'HeartbeatSeconds',
    );
  }
  return limits;
}

/** Writes down how the request went. An aborted branch has its own event, written where the state is left. */
async function recorded(visit: Visit, state: TaskState, work: () => Promise<Payload>): Promise<Payload> {
  const { resourceType, resource } = state.integration;
  try {
    const result = await work();
    visit.record('TaskSucceeded', {
      taskSucceededEventDetails: { resourceType, resource, output: result.text, outputDetails: COMPLETE },
    });
    return result;
  } catch (error) {
    visit.branch.signal.throwIfAborted();
    const failure = visit.failureOf(error);
    const details = { resourceType, resource, ...errorDetails(failure) };
    if (failure instanceof TaskTimeout) visit.record('TaskTimedOut', { taskTimedOutEventDetails: details });
    else visit.record('TaskFailed', { taskFailedEventDetails: details });
    throw failure;
  }
}

async function perform(
  visit: Visit,
  state: TaskState,
  parameters: Payload,
  token: TaskToken | undefined,
  deadlines: Deadlines,
): Promise<Payload> {
  const { integration } = state;
  const request = taskRequest(visit, parameters);
  const { signal } = visit.branch;
  let over = false;
  // A call under way cannot be cancelled: its result is then ignored.
  const { promise: interrupted, reject: interrupt } = Promise.withResolvers<never>();
  interrupted.catch(() => {});
  const stop = () => interrupt(signal.reason);
  const submit = async () => {
    const submitted = await integration.request(request);
    // A task that has ended meanwhile has nothing more to say in the history.
    if (!over) recordSubmitted(visit, state, visit.payload(submitted, 'submission').text);
    return submitted;
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  const lift = deadlines.enforce(interrupt);
  try {
    if (token) return await Promise.race([answered(token, submit()), interrupted]);
    if (integration.complete) {
      const completed = submit().then((submitted) => integration.complete!(request, submitted, interrupted));
      return visit.payload(await Promise.race([completed, interrupted]), 'result');
    }
    return visit.payload(await Promise.race([integration.request(request), interrupted]), 'result');
  } finally {
    over = true;
    lift();
    signal.removeEventListener('abort', stop);
  }
}

function taskRequest(visit: Visit, { value }: Payload): TaskRequest {
  if (!isObject(value)) {
    throw runtimeFailure(`The arguments of the state '${visit.state.name}' must be a JSON object to start the task.`);
  }
  const { run } = visit.branch;
  const { executionArn, stateMachineArn } = run;
  return {
    arguments: value as JsonObject,
    executionArn,
    stateMachineArn,
    call: (service, operation, input) => run.call(service, operation, input),
    whenEnded: (arn) => run.environment.whenEnded(arn),
  };
}

/** The token's answer; it may come before the request's own answer does, and a request that fails ends the wait. */
async function answered(token: TaskToken, submission: Promise<unknown>): Promise<Payload> {
  const answer = await Promise.race([token.answer, submission.then(() => token.answer)]);
  if ('failure' in answer) throw answer.failure;
  return checkedPayload(answer.output, 'The output of the task');
}

function recordSubmitted(visit: Visit, state: TaskState, output: string): void {
  const { resourceType, resource } = state.integration;
  visit.record('TaskSubmitted', {
    taskSubmittedEventDetails: { resourceType, resource, output, outputDetails: COMPLETE },
  });
}
