import type { Clock } from '../../common/clock.ts';
import {
  AwsError,
  type CallAws,
  type Caller,
  type Json,
  type JsonObject,
  notImplemented,
  type Service,
} from '../core/service.ts';
import type { InProcessTransport } from '../endpoint/in-process.ts';
import type { Handler } from './bundle.ts';
import { type Invocation, runInvocation } from './invocation.ts';

export interface LambdaFunction {
  name: string;
  arn: string;
  roleArn: string;
  timeoutSeconds: number;
  memoryMiB: number;
  handler: Handler;
}

/** What a function that threw, or ran out of time, answers. */
export type FunctionError = { errorType: string; errorMessage: string; trace: string[] };
type Run = { text: string; error?: undefined } | { text?: undefined; error: FunctionError };
export type InvokeResult = { payload: Json; error?: undefined } | { error: FunctionError };

export interface LambdaOptions {
  clock: Clock;
  random: () => number;
  uuid: () => string;
  callerForRole: (roleArn: string, session: string) => Caller;
  /** The way function code's SDK clients take to the services. It asks `currentCaller` who calls. */
  transport: InProcessTransport;
  /** How they are answered without the wire; undefined when they are not. */
  directly?: CallAws | undefined;
  /** Ends waiting for retries. */
  signal: AbortSignal;
  /** Takes each line that a function wrote, with its log group and log stream. */
  log: (logGroupName: string, logStreamName: string, line: string) => void;
  /** Called for each event that an asynchronous invocation gave up. */
  report: (message: string) => void;
}

export interface Lambda extends Service {
  put(lambdaFunction: LambdaFunction): void;
  /**
   * Runs a function, named by its name or ARN, and waits for its answer. Rejects only when there is no such function. `shared`: the
   * function is given the very payload, which it must not change.
   */
  invoke(name: string, payload: Json, options?: { shared: boolean }): Promise<InvokeResult>;
  /** The role session a function runs as. */
  callerOf(name: string): Caller;
}

// An asynchronous invocation that fails is tried twice again, after one minute and after two (Lambda's defaults).
const ASYNC_RETRY_PAUSES_MS = [60_000, 120_000];

/** Lambda, with the code in this process. All functions share its memory; an invocation that timed out is left to itself. */
export function createLambda(options: LambdaOptions): Lambda {
  const { clock, random, uuid, signal } = options;
  const functions = new Map<string, LambdaFunction>();

  function find(name: string): LambdaFunction {
    const found = functions.get(name.slice(name.lastIndexOf(':') + 1));
    if (found === undefined) throw new AwsError('ResourceNotFoundException', `Function not found: ${name}`, 404);
    return found;
  }

  const callers = new Map<string, Caller>();
  function callerOf({ name, roleArn }: LambdaFunction): Caller {
    const caller = callers.get(name) ?? options.callerForRole(roleArn, name);
    callers.set(name, caller);
    return caller;
  }

  /** What ends the time of the runs that have not answered. */
  const underWay = new Set<() => void>();
  signal.addEventListener('abort', () => underWay.forEach((end) => void end()), { once: true });

  /** `payload` must be the function's own; JSON carries its answer. */
  async function run(lambdaFunction: LambdaFunction, payload: Json): Promise<Run> {
    const requestId = uuid();
    const deadline = clock.now() + lambdaFunction.timeoutSeconds * 1_000;
    const invocation: Invocation = {
      functionName: lambdaFunction.name,
      caller: callerOf(lambdaFunction),
      transport: options.transport,
      directly: options.directly,
      now: () => clock.now(),
      sleep: (ms) => clock.sleep(ms),
      random,
      uuid,
      log: (line) => options.log(logGroupOf(lambdaFunction.name), requestId, line),
      ended: false,
    };
    const answer = runInvocation(invocation, async () => {
      const context = contextOf(lambdaFunction, requestId, () => deadline - clock.now());
      return lambdaFunction.handler(payload, context);
    }).then(
      (result): Run => ({ text: JSON.stringify(result) ?? 'null' }),
      (error: unknown): Run => ({ error: describeError(error) }),
    );
    const { promise: timeUp, resolve } = Promise.withResolvers<Run>();
    const end = () => resolve({ error: timedOut(requestId, lambdaFunction.timeoutSeconds) });
    const cancelTimer = clock.timer(deadline - clock.now(), end);
    underWay.add(end);
    const result = await Promise.race([answer, timeUp]);
    invocation.ended = true;
    underWay.delete(end);
    cancelTimer();
    if (result.error !== undefined)
      invocation.log(JSON.stringify({ level: 'ERROR', message: 'Invoke Error', ...result.error }));
    return result;
  }

  async function runAsynchronously(lambdaFunction: LambdaFunction, payload: Json): Promise<void> {
    for (const pause of [...ASYNC_RETRY_PAUSES_MS, undefined]) {
      const { error } = await run(lambdaFunction, copy(payload));
      if (error === undefined || signal.aborted) return;
      if (pause === undefined) {
        options.report(
          `${lambdaFunction.name} failed on an event, after all retries: ${error.errorType}: ${error.errorMessage}`,
        );
        return;
      }
      await clock.sleep(pause, signal);
    }
  }

  return {
    put: (lambdaFunction) => void functions.set(lambdaFunction.name, lambdaFunction),
    async invoke(name, payload, { shared } = { shared: false }) {
      const { text, error } = await run(find(name), shared ? payload : copy(payload));
      return error === undefined ? { payload: JSON.parse(text) as Json } : { error };
    },
    callerOf: (name) => callerOf(find(name)),

    requiredPermissions(operation, input) {
      if (operation !== 'Invoke') throw notImplemented(`lambda:${operation}`);
      return [{ action: 'lambda:InvokeFunction', resource: find(String(input.FunctionName)).arn }];
    },

    /** `Payload` is JSON text both ways, as on the wire. */
    async call(_operation, input) {
      const lambdaFunction = find(String(input.FunctionName));
      const payload = parsePayload(input.Payload);
      switch (input.InvocationType ?? 'RequestResponse') {
        case 'RequestResponse': {
          const result = await run(lambdaFunction, payload);
          const common = { StatusCode: 200, ExecutedVersion: '$LATEST' };
          if (result.error === undefined) return { ...common, Payload: result.text };
          return { ...common, FunctionError: 'Unhandled', Payload: JSON.stringify(result.error) };
        }
        case 'Event':
          void runAsynchronously(lambdaFunction, payload);
          return { StatusCode: 202 };
        default:
          throw notImplemented(`lambda:Invoke with InvocationType ${String(input.InvocationType)}`);
      }
    },
  };
}

/** Functions and callers share no objects, as between processes. */
function copy(value: Json): Json {
  if (Array.isArray(value)) return value.map(copy);
  if (typeof value !== 'object' || value === null) return value;
  const copied: JsonObject = {};
  for (const name in value) if (value[name] !== undefined) copied[name] = copy(value[name]!);
  return copied;
}

function parsePayload(payload: Json | undefined): Json {
  if (payload === undefined) return {};
  try {
    return JSON.parse(String(payload)) as Json;
  } catch {
    throw new AwsError('InvalidRequestContentException', 'Could not parse request body into json.');
  }
}

const logGroupOf = (name: string): string => `/aws/lambda/${name}`;

const contextOf = ({ name, arn, memoryMiB }: LambdaFunction, requestId: string, remainingMs: () => number) => ({
  functionName: name,
  functionVersion: '$LATEST',
  invokedFunctionArn: arn,
  memoryLimitInMB: String(memoryMiB),
  awsRequestId: requestId,
  logGroupName: logGroupOf(name),
  logStreamName: requestId,
  callbackWaitsForEmptyEventLoop: true,
  getRemainingTimeInMillis: () => Math.max(0, remainingMs()),
});

function describeError(error: unknown): FunctionError {
  if (!(error instanceof Error)) return { errorType: typeof error, errorMessage: String(error), trace: [] };
  return { errorType: error.name, errorMessage: error.message, trace: (error.stack ?? '').split('\n') };
}

const timedOut = (requestId: string, seconds: number): FunctionError => ({
  errorType: 'Sandbox.Timedout',
  errorMessage: `RequestId: ${requestId} Error: Task timed out after ${seconds.toFixed(2)} seconds`,
  trace: [],
});
