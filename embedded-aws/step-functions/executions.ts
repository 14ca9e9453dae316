import type { Clock } from '../../common/clock.ts';
import { AwsError, type Json, type JsonObject } from '../core/service.ts';
import { checkExecutionArn, checkName, executionArnOf } from './common/arns.ts';
import { withoutExecutionData } from './common/history.ts';
import { MAX_PAYLOAD_BYTES, type Payload } from './common/payload.ts';
import { Execution } from './execution.ts';
import { optionalChoice, optionalText, text } from './input.ts';
import { described, type Machine, type Machines, seconds } from './machines.ts';
import { page } from './paging.ts';
import { notRedrivable } from './status-change.ts';

const STATUSES = ['RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED', 'PENDING_REDRIVE'] as const;

/** All executions, and the operations on them. */
export class Executions {
  readonly #byArn = new Map<string, Execution>();
  readonly #byMachine = new Map<string, Execution[]>();
  readonly #options: ExecutionsOptions;

  constructor(options: ExecutionsOptions) {
    this.#options = options;
  }

  /** Starting again under the same name and with the same input is answered the same way for as long as the first one runs. */
  start(input: JsonObject): JsonObject {
    const { machines, newName } = this.#options;
    const machine = machines.active(text(input, 'stateMachineArn'));
    const name = optionalText(input, 'name') ?? newName();
    checkName(name);
    const arn = executionArnOf(machine.revision.arn, name);
    const payload = executionInput(optionalText(input, 'input') ?? '{}');
    const existing = this.#byArn.get(arn);
    if (existing !== undefined && (existing.status !== 'RUNNING' || existing.input.text !== payload.text)) {
      throw new AwsError('ExecutionAlreadyExists', `Execution Already Exists: '${arn}'`);
    }
    const execution = existing ?? this.#begin(arn, name, machine, payload);
    return { executionArn: arn, startDate: seconds(execution.startedAt) };
  }

  async stop(input: JsonObject): Promise<JsonObject> {
    const execution = this.find(text(input, 'executionArn'));
    await execution.stop(optionalText(input, 'error'), optionalText(input, 'cause'));
    return { stopDate: seconds(execution.stoppedAt!) };
  }

  describe(input: JsonObject): JsonObject {
    const execution = this.find(text(input, 'executionArn'));
    const { ending, status } = execution;
    return {
      ...listed(execution),
      input: execution.input.text,
      inputDetails: { included: true },
      ...(ending?.output && { output: ending.output.text, outputDetails: { included: true } }),
      ...(ending?.error !== undefined && { error: ending.error }),
      ...(ending?.cause !== undefined && { cause: ending.cause }),
      ...notRedrivable(status),
    };
  }

  describeMachine(input: JsonObject): JsonObject {
    const { machine } = this.find(text(input, 'executionArn'));
    return { ...described(machine), updateDate: seconds(machine.updatedAt) };
  }

  list(input: JsonObject): JsonObject {
    const { arn } = this.#options.machines.find(text(input, 'stateMachineArn')).revision;
    const status = optionalChoice(input, 'statusFilter', STATUSES);
    const only = (execution: Execution) => status === undefined || execution.status === status;
    const { page: executions, nextToken } = page(this.#byMachine.get(arn) ?? [], input, { newestFirst: true, only });
    return { executions: executions.map(listed), ...(nextToken !== undefined && { nextToken }) };
  }

  history(input: JsonObject): JsonObject {
    const { history } = this.find(text(input, 'executionArn'));
    const { page: events, nextToken } = page(history.events, input, { newestFirst: input.reverseOrder === true });
    const shown = input.includeExecutionData === false ? events.map(withoutExecutionData) : events;
    return { events: shown as Json[], ...(nextToken !== undefined && { nextToken }) };
  }

  /** Throws InvalidArn and ExecutionDoesNotExist. */
  find(arn: string): Execution {
    checkExecutionArn(arn);
    const execution = this.#byArn.get(arn);
    if (execution === undefined) throw new AwsError('ExecutionDoesNotExist', `Execution Does Not Exist: '${arn}'`);
    return execution;
  }

  exists(arn: string): boolean {
    return this.#byArn.has(arn);
  }

  isRunning(stateMachineArn: string): boolean {
    return (this.#byMachine.get(stateMachineArn) ?? []).some(({ status }) => status === 'RUNNING');
  }

  /** Forgets the executions of a machine that is gone. */
  forget(stateMachineArn: string): void {
    for (const { arn } of this.#byMachine.get(stateMachineArn) ?? []) this.#byArn.delete(arn);
    this.#byMachine.delete(stateMachineArn);
  }

  /** Stops everything that runs. */
  async stopAll(): Promise<void> {
    const running = [...this.#byArn.values()].filter(({ status }) => status === 'RUNNING');
    await Promise.all(running.map((execution) => execution.stop(undefined, 'The embedded AWS was stopped.')));
  }

  #begin(arn: string, name: string, { revision }: Machine, input: Payload): Execution {
    const { start, clock } = this.#options;
    const execution = new Execution(arn, name, revision, input, clock);
    this.#byArn.set(arn, execution);
    const siblings = this.#byMachine.get(revision.arn);
    if (siblings === undefined) this.#byMachine.set(revision.arn, [execution]);
    else siblings.push(execution);
    start(execution);
    return execution;
  }
}

export interface ExecutionsOptions {
  readonly clock: Clock;
  readonly machines: Machines;
  newName(): string;
  /** Sets a new execution going. */
  start(execution: Execution): void;
}

function listed({ arn, name, machine, status, startedAt, stoppedAt }: Execution): JsonObject {
  return {
    executionArn: arn,
    stateMachineArn: machine.arn,
    name,
    status,
    startDate: seconds(startedAt),
    ...(stoppedAt !== undefined && { stopDate: seconds(stoppedAt) }),
    redriveCount: 0,
  };
}

function executionInput(text: string): Payload {
  if (Buffer.byteLength(text) > MAX_PAYLOAD_BYTES) {
    throw new AwsError('InvalidExecutionInput', `Invalid Execution Input: larger than ${MAX_PAYLOAD_BYTES} bytes`);
  }
  try {
    return { value: JSON.parse(text) as Json, text };
  } catch {
    throw new AwsError('InvalidExecutionInput', 'Invalid Execution Input: not JSON');
  }
}
