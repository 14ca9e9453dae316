/** An error of the States Language: what a Retry or Catch matches by name, and what a failed execution ends with. */
export class StateFailure extends Error {
  readonly error: string | undefined;
  override readonly cause: string | undefined;

  constructor(error: string | undefined, cause: string | undefined) {
    super(cause ?? error);
    this.name = 'StateFailure';
    this.error = error;
    this.cause = cause;
  }
}

/** A `{% ... %}` expression could not be evaluated; `location` is the field it stands in, such as `Arguments/Payload`. */
export class EvaluationFailure extends StateFailure {
  readonly location: string;

  constructor(cause: string, location: string) {
    super('States.QueryEvaluationError', cause);
    this.location = location;
  }
}

/** A task's TimeoutSeconds or HeartbeatSeconds ran out. */
export class TaskTimeout extends StateFailure {}

/** The machine's own limits were broken in a way no Catch can handle. */
export function runtimeFailure(cause: string): StateFailure {
  return new StateFailure('States.Runtime', cause);
}

/** Why the signal of a Parallel branch or Map iteration aborts when another one failed. */
export class SiblingFailed extends Error {}

/** Why an execution's signal aborts: what it ends with, whatever its states are doing. */
export class ExecutionEnded extends Error {
  readonly status: 'ABORTED' | 'TIMED_OUT' | 'FAILED';
  readonly error: string | undefined;
  override readonly cause: string | undefined;

  constructor(status: 'ABORTED' | 'TIMED_OUT' | 'FAILED', error?: string, cause?: string) {
    super(status);
    this.status = status;
    this.error = error;
    this.cause = cause;
  }
}
