import type { Clock } from '../../common/clock.ts';
import type { JsonObject } from '../core/service.ts';
import { ExecutionEnded, runtimeFailure, StateFailure } from './common/failures.ts';
import { COMPLETE, errorDetails, History, MAX_EVENTS, type Trail } from './common/history.ts';
import type { Payload } from './common/payload.ts';
import { sleepUntil } from './common/waiting.ts';
import { Variables } from './expressions/variables.ts';
import type { Environment, Run } from './interpreter/branch.ts';
import { runBranch } from './interpreter/run-branch.ts';
import type { MachineRevision } from './machines.ts';

export type ExecutionStatus = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'TIMED_OUT' | 'ABORTED';

/** What an execution came to. */
interface Ending {
  readonly status: Exclude<ExecutionStatus, 'RUNNING'>;
  readonly output?: Payload;
  readonly error: string | undefined;
  readonly cause: string | undefined;
}

/** One execution of one machine, as that machine was when it started. */
export class Execution {
  readonly arn: string;
  readonly name: string;
  readonly machine: MachineRevision;
  readonly input: Payload;
  readonly startedAt: number;
  readonly history: History;
  /** Resolves once the execution has come to rest. */
  readonly ended: Promise<void>;
  stoppedAt: number | undefined;
  ending: Ending | undefined;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #settled = Promise.withResolvers<void>();

  constructor(arn: string, name: string, machine: MachineRevision, input: Payload, clock: Clock) {
    this.arn = arn;
    this.name = name;
    this.machine = machine;
    this.input = input;
    this.#clock = clock;
    this.startedAt = clock.now();
    this.ended = this.#settled.promise;
    const cause = `The execution reached the maximum number of history events (${MAX_EVENTS}).`;
    this.history = new History(clock, () =>
      this.#controller.abort(new ExecutionEnded('FAILED', 'States.Runtime', cause)),
    );
  }

  get status(): ExecutionStatus {
    return this.ending?.status ?? 'RUNNING';
  }

  /** Ends the execution as ABORTED and resolves when everything it was doing has come to rest. */
  async stop(error: string | undefined, cause: string | undefined): Promise<void> {
    this.#controller.abort(new ExecutionEnded('ABORTED', error, cause));
    await this.ended;
  }

  /** Runs the execution to its end; never rejects. */
  async run(environment: Environment, call: Run['call']): Promise<void> {
    const trail: Trail = { lastEventId: 0 };
    this.history.add(trail, 'ExecutionStarted', {
      executionStartedEventDetails: {
        input: this.input.text,
        inputDetails: COMPLETE,
        roleArn: this.machine.roleArn,
      },
    });
    void this.#enforceTimeout();
    this.ending = await this.#runStates(environment, call, trail);
    this.stoppedAt = this.#clock.now();
    // Wakes the timer of the machine's timeout, the only listener that is left.
    this.#controller.abort();
    this.#recordEnd(trail);
    this.#settled.resolve();
  }

  async #runStates(environment: Environment, call: Run['call'], trail: Trail): Promise<Ending> {
    const { definition } = this.machine;
    const { signal } = this.#controller;
    // The first state's event names no predecessor, as on AWS, so the branch begins with a trail of its own.
    const branch = {
      run: {
        environment,
        history: this.history,
        executionArn: this.arn,
        stateMachineArn: this.machine.arn,
        context: this.#context(),
        call,
      },
      signal,
      variables: new Variables(),
      lastEventId: 0,
    };
    try {
      const output = await runBranch(branch, definition, this.input);
      return { status: 'SUCCEEDED', output, error: undefined, cause: undefined };
    } catch (thrown) {
      if (thrown instanceof ExecutionEnded) return { status: thrown.status, error: thrown.error, cause: thrown.cause };
      const { error, cause } = thrown instanceof StateFailure ? thrown : runtimeFailure(String(thrown));
      return { status: 'FAILED', error, cause };
    } finally {
      trail.lastEventId = branch.lastEventId;
    }
  }

  async #enforceTimeout(): Promise<void> {
    const { timeoutSeconds } = this.machine.definition;
    if (timeoutSeconds === undefined) return;
    const { signal } = this.#controller;
    await sleepUntil(this.#clock, this.startedAt + timeoutSeconds * 1_000, signal);
    if (!signal.aborted) this.#controller.abort(new ExecutionEnded('TIMED_OUT', 'States.Timeout'));
  }

  #context(): JsonObject {
    return {
      Execution: {
        Id: this.arn,
        Input: this.input.value,
        Name: this.name,
        RoleArn: this.machine.roleArn,
        StartTime: new Date(this.startedAt).toISOString(),
        RedriveCount: 0,
      },
      StateMachine: { Id: this.machine.arn, Name: this.machine.name },
    };
  }

  #recordEnd(trail: Trail): void {
    const { status, output, error, cause } = this.ending!;
    const event = { SUCCEEDED: 'Succeeded', FAILED: 'Failed', TIMED_OUT: 'TimedOut', ABORTED: 'Aborted' }[status];
    const details = output ? { output: output.text, outputDetails: COMPLETE } : errorDetails({ error, cause });
    this.history.end(trail, `Execution${event}`, { [`execution${event}EventDetails`]: details });
  }
}
