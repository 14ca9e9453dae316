import type { Clock } from '../../../common/clock.ts';
import type { Random } from '../../core/random.ts';
import type { Json, JsonObject } from '../../core/service.ts';
import type { History, Trail } from '../common/history.ts';
import type { Payload } from '../common/payload.ts';
import type { TaskTokens } from '../common/task-tokens.ts';
import type { Workflow } from '../definition/definition.ts';
import type { JsonataFunctions } from '../expressions/functions.ts';
import { Variables } from '../expressions/variables.ts';

/** What running states need from outside. */
export interface Environment {
  readonly clock: Clock;
  readonly random: Random;
  readonly functions: JsonataFunctions;
  readonly region: string;
  readonly tokens: TaskTokens;
  whenEnded(executionArn: string): Promise<void>;
}

/** What all branches of one execution share. */
export interface Run {
  readonly environment: Environment;
  readonly history: History;
  readonly executionArn: string;
  readonly stateMachineArn: string;
  /** `Execution` and `StateMachine` of the context object. */
  readonly context: JsonObject;
  /** Calls a service as the state machine's role. */
  call(service: string, operation: string, input: JsonObject): Promise<JsonObject>;
}

/** One line of states that run after each other: the execution's own, a Parallel's branch or a Map's iteration. */
export interface Branch extends Trail {
  readonly run: Run;
  /** Aborts when the execution ends or a sibling fails. Code that waits must check it afterwards. */
  readonly signal: AbortSignal;
  readonly variables: Variables;
  /** `Map.Item` of the context object, inside of a Map. */
  mapItem?: Json;
}

/** Runs the states of a workflow in a branch (run-branch.ts). Parallel and Map states are given it, because it runs them. */
export type RunBranch = (branch: Branch, workflow: Workflow, input: Payload) => Promise<Payload>;

export function childBranch(parent: Branch, signal: AbortSignal): Branch {
  return { ...parent, signal, variables: new Variables(parent.variables) };
}
