import type { Template } from '../expressions/template.ts';
import type { Integration } from '../integrations/integration.ts';

/** States and where to begin: a machine, a Parallel's branch or a Map's item processor. */
export interface Workflow {
  readonly startAt: string;
  readonly states: ReadonlyMap<string, State>;
}

/** A state machine as the interpreter runs it: parsed once, every expression compiled. */
export interface Definition extends Workflow {
  readonly timeoutSeconds?: number;
}

export type State =
  | TaskState
  | PassState
  | ChoiceState
  | WaitState
  | SucceedState
  | FailState
  | ParallelState
  | MapState;

/** What a state, a Choice rule or a Catch makes of its scope. `next` is absent where the workflow ends. */
export interface Conclusion {
  readonly next?: string;
  readonly output?: Template;
  readonly assign?: Template;
}

interface Named {
  readonly name: string;
}

interface Recoverable {
  readonly retry: readonly Retrier[];
  readonly catch: readonly Catcher[];
}

export interface TaskState extends Named, Conclusion, Recoverable {
  readonly type: 'Task';
  readonly integration: Integration;
  readonly arguments?: Template;
  readonly timeoutSeconds?: Template;
  readonly heartbeatSeconds?: Template;
}

export interface PassState extends Named, Conclusion {
  readonly type: 'Pass';
}

export interface ChoiceState extends Named, Conclusion {
  readonly type: 'Choice';
  readonly rules: readonly ChoiceRule[];
  /** Whether `next` (the Default field) is there to be taken when no rule matches. */
  readonly next?: string;
}

export interface ChoiceRule extends Conclusion {
  readonly condition: Template;
}

export interface WaitState extends Named, Conclusion {
  readonly type: 'Wait';
  readonly until: { readonly kind: 'seconds' | 'timestamp'; readonly template: Template };
}

export interface SucceedState extends Named, Conclusion {
  readonly type: 'Succeed';
}

export interface FailState extends Named {
  readonly type: 'Fail';
  readonly error?: Template;
  readonly cause?: Template;
}

export interface ParallelState extends Named, Conclusion, Recoverable {
  readonly type: 'Parallel';
  readonly arguments?: Template;
  readonly branches: readonly Workflow[];
}

export interface MapState extends Named, Conclusion, Recoverable {
  readonly type: 'Map';
  readonly items?: Template;
  readonly itemSelector?: Template;
  readonly maxConcurrency?: Template;
  readonly processor: Workflow;
}

export interface Retrier {
  readonly errorEquals: readonly string[];
  readonly intervalSeconds: number;
  readonly maxAttempts: number;
  readonly backoffRate: number;
  readonly maxDelaySeconds: number;
  readonly fullJitter: boolean;
}

export interface Catcher extends Conclusion {
  readonly errorEquals: readonly string[];
  readonly next: string;
}
