import type { Json, JsonObject } from '../../core/service.ts';
import { EvaluationFailure, runtimeFailure, StateFailure } from '../common/failures.ts';
import { errorDetails } from '../common/history.ts';
import { MAX_PAYLOAD_BYTES, type Payload, payloadOf } from '../common/payload.ts';
import type { Conclusion, State } from '../definition/definition.ts';
import type { Scope } from '../expressions/expression.ts';
import { fill, type Template } from '../expressions/template.ts';
import type { Branch } from './branch.ts';

/** Where a state leads, what it hands on, and what it assigns once it is left. */
export interface Outcome {
  readonly next: string | undefined;
  readonly output: Payload;
  readonly assigned?: JsonObject;
}

/** What an expression sees beside input and variables. */
export interface Extra {
  readonly result?: Json;
  readonly errorOutput?: Json;
  readonly mapItem?: Json;
}

/** One stay in one state, over all of its retries. */
export class Visit {
  readonly branch: Branch;
  readonly state: State;
  readonly input: Payload;
  retryCount = 0;
  /** The token of the attempt under way, for a task that waits for one. */
  taskToken: string | undefined;
  readonly #enteredTime: string;
  readonly #enteredEventId: number;

  /** To be made right after the state's entered event. */
  constructor(branch: Branch, state: State, input: Payload) {
    this.branch = branch;
    this.state = state;
    this.input = input;
    this.#enteredTime = new Date(branch.run.environment.clock.now()).toISOString();
    this.#enteredEventId = branch.lastEventId;
  }

  record(type: string, details?: JsonObject): void {
    this.branch.run.history.add(this.branch, type, details);
  }

  /** Evaluates a field. A failure is recorded in the history and thrown as an EvaluationFailure. */
  async fill(template: Template, extra: Extra = {}): Promise<Json> {
    if (template.kind === 'constant') return template.value;
    try {
      return await fill(template, this.#scope(extra));
    } catch (error) {
      if (!(error instanceof EvaluationFailure)) throw error;
      return this.failEvaluation(error.message, error.location);
    }
  }

  /** For a value that was evaluated but is not what the field takes. */
  failEvaluation(message: string, location: string): never {
    const failure = new EvaluationFailure(`${this.#where()} ${message}`, location);
    const { error, cause } = failure;
    this.record('EvaluationFailed', {
      evaluationFailedEventDetails: { ...errorDetails({ error, cause }), location, state: this.state.name },
    });
    throw failure;
  }

  /** Evaluates a field that must come to a number (`whole` and at least `least`); throws an EvaluationFailure otherwise. */
  async fillNumber(template: Template, field: string, least: number): Promise<number> {
    const value = await this.fill(template);
    if (typeof value === 'number' && Number.isInteger(value) && value >= least) return value;
    return this.failEvaluation(
      `The field '${field}' must be a whole number of at least ${least}, not ${JSON.stringify(value)}.`,
      field,
    );
  }

  async fillText(template: Template, field: string): Promise<string> {
    const value = await this.fill(template);
    return typeof value === 'string'
      ? value
      : this.failEvaluation(`The field '${field}' must be a string, not ${JSON.stringify(value)}.`, field);
  }

  /** Evaluates Output and Assign, both against what held when the state was entered. */
  async conclude(conclusion: Conclusion, fallback: Payload, extra: Extra = {}): Promise<Outcome> {
    const { next, output, assign } = conclusion;
    const handedOn = output ? this.payload(await this.fill(output, extra), 'output') : fallback;
    if (assign === undefined) return { next, output: handedOn };
    return { next, output: handedOn, assigned: this.#variables(await this.fill(assign, extra)) };
  }

  payload(value: Json, what: string): Payload {
    return payloadOf(value, `The ${what} of the state '${this.state.name}'`);
  }

  /** The failure behind whatever was thrown. What is not a StateFailure is a defect of ours, and no Catch may hide it. */
  failureOf(error: unknown): StateFailure {
    if (error instanceof StateFailure) return error;
    return runtimeFailure(
      `${this.#where()} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }

  #variables(value: Json): JsonObject {
    const bytes = Buffer.byteLength(JSON.stringify(value));
    if (bytes > MAX_PAYLOAD_BYTES) {
      const cause = `The variables assigned by the state '${this.state.name}' exceed ${MAX_PAYLOAD_BYTES} bytes.`;
      throw new StateFailure('States.DataLimitExceeded', cause);
    }
    return value as JsonObject;
  }

  #where(): string {
    return `An error occurred while executing the state '${this.state.name}' (entered at the event id #${this.#enteredEventId}).`;
  }

  #scope({ result, errorOutput, mapItem = this.branch.mapItem }: Extra): Scope {
    const { run, variables } = this.branch;
    const context = {
      ...run.context,
      State: { EnteredTime: this.#enteredTime, Name: this.state.name, RetryCount: this.retryCount },
      ...(this.taskToken !== undefined && { Task: { Token: this.taskToken } }),
      ...(mapItem !== undefined && { Map: { Item: mapItem } }),
    };
    return {
      states: { input: this.input.value, context, result, errorOutput },
      variables,
      functions: run.environment.functions,
    };
  }
}
