import { AwsError, type Caller, type Json, type JsonObject } from '../../../../embedded-aws/core/service.ts';
import { createStepFunctions, type StepFunctionsService } from '../../../../embedded-aws/step-functions/service.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

export const ROLE = 'arn:aws:iam::123456789012:role/machine';

export type Handler = (input: JsonObject, caller: Caller) => Json | Promise<Json>;

/** A Step Functions under a virtual clock, with a stand-in for every other service. */
export class Kit {
  readonly clock = new VirtualClock();
  readonly events: JsonObject[] = [];
  readonly calls: { service: string; operation: string; input: JsonObject; caller: string }[] = [];
  readonly service: StepFunctionsService;
  readonly #handlers = new Map<string, Handler>();
  #machines = 0;
  #seed = 1;

  constructor() {
    this.service = createStepFunctions({
      clock: this.clock,
      random: () => this.#random(),
      region: 'eu-central-1',
      account: '123456789012',
      callerForRole: (roleArn) => ({ arn: roleArn, userId: 'AROA:machine', statements: [] }),
      emit: (event) => this.events.push(event),
      callAws: async (service, operation, input, caller) => {
        this.calls.push({ service, operation, input, caller: caller.arn });
        const handler = this.#handlers.get(`${service}:${operation}`);
        if (handler !== undefined) return (await handler(input, caller)) as JsonObject;
        if (service === 'states') return this.service.call(operation, input, caller);
        throw new AwsError('AccessDeniedException', `not allowed: ${service}:${operation}`);
      },
    });
  }

  /** Answers a service's operation; Lambda functions are easier with `lambda`. */
  on(service: string, operation: string, handler: Handler): this {
    this.#handlers.set(`${service}:${operation}`, handler);
    return this;
  }

  /** Answers Lambda invocations with a function of the payload; what it throws is a function error. */
  lambda(handler: (payload: Json, functionName: string) => Json | Promise<Json>): this {
    return this.on('lambda', 'Invoke', async (input) => {
      try {
        const payload = await handler(JSON.parse(String(input.Payload)), String(input.FunctionName));
        return { StatusCode: 200, ExecutedVersion: '$LATEST', Payload: JSON.stringify(payload) };
      } catch (error) {
        if (error instanceof AwsError) throw error;
        const { name, message } = error as Error;
        const Payload = JSON.stringify({ errorType: name, errorMessage: message });
        return { StatusCode: 200, ExecutedVersion: '$LATEST', FunctionError: 'Unhandled', Payload };
      }
    });
  }

  call(operation: string, input: JsonObject): Promise<JsonObject> {
    return this.service.call(operation, input, { arn: 'admin', userId: 'admin', statements: [] });
  }

  /** Creates a JSONata machine and returns its ARN. */
  async machine(states: JsonObject, options: JsonObject = {}): Promise<string> {
    const definition = JSON.stringify({
      QueryLanguage: 'JSONata',
      StartAt: Object.keys(states)[0]!,
      States: states,
      ...options,
    });
    const name = `machine-${++this.#machines}`;
    return String((await this.call('CreateStateMachine', { name, definition, roleArn: ROLE })).stateMachineArn);
  }

  async start(stateMachineArn: string, input: Json = {}, name?: string): Promise<string> {
    const started = await this.call('StartExecution', {
      stateMachineArn,
      input: JSON.stringify(input),
      ...(name !== undefined && { name }),
    });
    await this.clock.settle();
    return String(started.executionArn);
  }

  /** Creates a machine, runs it to its end in virtual time, and describes the outcome. */
  async run(states: JsonObject, input: Json = {}, options: JsonObject = {}): Promise<Outcome> {
    const arn = await this.start(await this.machine(states, options), input);
    await this.clock.runUntilIdle();
    return this.outcome(arn);
  }

  async outcome(executionArn: string): Promise<Outcome> {
    const { status, output, error, cause } = await this.call('DescribeExecution', { executionArn });
    return {
      arn: executionArn,
      status: String(status),
      ...(output !== undefined && { output: JSON.parse(String(output)) as Json }),
      ...(error !== undefined && { error: String(error) }),
      ...(cause !== undefined && { cause: String(cause) }),
    };
  }

  async history(executionArn: string, options: JsonObject = {}): Promise<HistoryEvent[]> {
    const { events } = await this.call('GetExecutionHistory', { executionArn, maxResults: 1000, ...options });
    return events as unknown as HistoryEvent[];
  }

  async types(executionArn: string): Promise<string[]> {
    return (await this.history(executionArn)).map(({ type }) => type);
  }

  /** Seconds since the clock's start. */
  elapsed(): number {
    return (this.clock.now() - Date.parse('2026-01-01T00:00:00.000Z')) / 1_000;
  }

  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  }
}

export interface Outcome {
  arn: string;
  status: string;
  output?: Json;
  error?: string;
  cause?: string;
}

export interface HistoryEvent {
  type: string;
  id: number;
  previousEventId: number;
  timestamp: number;
  [details: string]: Json;
}

export const INVOKE = 'arn:aws:states:::lambda:invoke';
export const WAIT_FOR_TOKEN = 'arn:aws:states:::lambda:invoke.waitForTaskToken';

/** A Task that invokes a function. */
export function lambdaTask(rest: JsonObject = {}): JsonObject {
  const next = 'Next' in rest ? {} : { End: true };
  return { Type: 'Task', Resource: INVOKE, Arguments: { FunctionName: 'f' }, ...next, ...rest };
}

/** A Task that hands its token to a function and waits for the answer. */
export function tokenTask(rest: JsonObject = {}): JsonObject {
  return lambdaTask({
    Resource: WAIT_FOR_TOKEN,
    Arguments: { FunctionName: 'f', Payload: { token: '{% $states.context.Task.Token %}' } },
    ...rest,
  });
}

/** A function error: Lambda reports the error's name as `errorType`. */
export function failure(name: string, message = ''): Error {
  return Object.assign(new Error(message), { name });
}
