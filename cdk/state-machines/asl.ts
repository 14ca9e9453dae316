/**
 * Amazon States Language in JSONata, as data. The machines are written in the form that an operator reads in the console; this file
 * has the few shapes that repeat.
 */
export type State = Record<string, unknown> & { Type: string };
export interface Definition {
  Comment: string;
  QueryLanguage: 'JSONata';
  StartAt: string;
  TimeoutSeconds?: number;
  States: Record<string, State>;
}

/** A JSONata expression, as states hold it. */
export const js = (expression: string): string => `{% ${expression} %}`;

/**
 * Transient faults: Lambda's own, and throttling that outlasted the SDK's retries inside a function. Whether the call took
 * effect may be unknown; every function may be called again.
 */
const TRANSIENT_FAULTS = [
  'Lambda.ServiceException',
  'Lambda.AWSLambdaException',
  'Lambda.SdkClientException',
  'Lambda.ClientExecutionTimeoutException',
  'Lambda.TooManyRequestsException',
  'Lambda.Unknown',
  'Sandbox.Timedout',
  'ThrottlingException',
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'InternalServerError',
  'TransactionCanceledException',
  'TimeoutError',
];

export function retry(more: { errors?: string[]; attempts?: number } = {}) {
  return [
    {
      ErrorEquals: more.errors ?? TRANSIENT_FAULTS,
      IntervalSeconds: 1,
      BackoffRate: 2,
      MaxDelaySeconds: 30,
      MaxAttempts: more.attempts ?? 5,
      JitterStrategy: 'FULL',
    },
  ];
}

/** Calls a function; its answer is the state's output. */
export function call(functionArn: string, payload: Record<string, unknown>, rest: Record<string, unknown>): State {
  return {
    Type: 'Task',
    Resource: 'arn:aws:states:::lambda:invoke',
    Arguments: { FunctionName: functionArn, Payload: payload },
    Output: js('$states.result.Payload'),
    Retry: retry(),
    ...rest,
  };
}

/**
 * One stage on one host: the dispatch function sends the task, and the host's report answers the task token.
 *
 * `heartbeatSeconds` is for stages that report progress; `timeoutSeconds` for all.
 */
export function stage(
  dispatchArn: string,
  task: { migrationId: string; stage: string; role: string } & Record<string, unknown>,
  limits: { timeoutSeconds: number | string; heartbeatSeconds?: string },
  rest: Record<string, unknown>,
): State {
  return {
    Type: 'Task',
    Resource: 'arn:aws:states:::lambda:invoke.waitForTaskToken',
    Arguments: {
      FunctionName: dispatchArn,
      Payload: {
        ...task,
        taskToken: js('$states.context.Task.Token'),
      },
    },
    TimeoutSeconds: limits.timeoutSeconds,
    ...(limits.heartbeatSeconds !== undefined && { HeartbeatSeconds: limits.heartbeatSeconds }),
    Retry: retry(),
    ...rest,
  };
}

/**
 * What a Catch knows, as a failure with a code and a message. A function's error comes as Lambda's JSON, a host's failure as
 * the plain message it reported; a time limit comes without a cause, and gets a message here.
 */
export const CAUGHT = js(
  "$states.errorOutput.Error = 'States.HeartbeatTimeout' ? { 'code': 'MoverGone', 'message': " +
    "'The mover was silent for longer than the policy allows (heartbeatTimeoutSeconds).' } : " +
    "$states.errorOutput.Error = 'States.Timeout' ? { 'code': 'HostSilent', 'message': " +
    "'No report came in time in \"' & $states.context.State.Name & '\"; the timeline shows which host was asked and has not answered.' } : " +
    "{ 'code': $states.errorOutput.Error, 'message': " +
    '$not($exists($states.errorOutput.Cause)) ? $states.errorOutput.Error : ' +
    '$substring($states.errorOutput.Cause, 0, 13) = \'{"errorType":\' ? $parse($states.errorOutput.Cause).errorMessage : ' +
    '$states.errorOutput.Cause }',
);

/** The failed checks of a Parallel's two answers, one line each. */
export const FAILED_CHECKS = js(
  "[$states.result.checks[passed = false].(name & ': ' & found & ($exists(remedy) ? ' (' & remedy & ')' : ''))]",
);
