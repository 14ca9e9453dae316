import { type Random, uuid } from '../../core/random.ts';
import { AwsError, type Json } from '../../core/service.ts';
import { machineArnOf } from './arns.ts';
import { StateFailure } from './failures.ts';
import { MAX_PAYLOAD_BYTES, type Payload } from './payload.ts';

export type TaskAnswer = { readonly output: Payload } | { readonly failure: StateFailure };

/** One attempt of one task that waits for its token to be answered. */
export interface TaskToken {
  readonly text: string;
  readonly answer: Promise<TaskAnswer>;
  /** Every heartbeat calls this. */
  onHeartbeat: () => void;
  /** Must be called when the attempt ends, however it does. */
  close(): void;
}

interface LiveToken extends TaskToken {
  readonly executionArn: string;
  settle(answer: TaskAnswer): void;
}

/** The tokens of all tasks that wait for one. Only the first answer counts: a token dies with it. */
export class TaskTokens {
  readonly #random: Random;
  readonly #executionExists: (executionArn: string) => boolean;
  readonly #live = new Map<string, LiveToken>();

  constructor(random: Random, executionExists: (executionArn: string) => boolean) {
    this.#random = random;
    this.#executionExists = executionExists;
  }

  issue(executionArn: string): TaskToken {
    const text = Buffer.from(JSON.stringify([executionArn, uuid(this.#random)])).toString('base64');
    const { promise, resolve } = Promise.withResolvers<TaskAnswer>();
    const close = () => this.#live.delete(text);
    const settle = (answer: TaskAnswer) => {
      close();
      resolve(answer);
    };
    const token: LiveToken = { text, executionArn, answer: promise, settle, close, onHeartbeat: () => undefined };
    this.#live.set(text, token);
    return token;
  }

  /** Throws InvalidToken, TaskDoesNotExist, TaskTimedOut, or InvalidOutput when `output` is not JSON or is too large. */
  succeed(text: string, output: string): void {
    const token = this.#find(text);
    token.settle({ output: parseOutput(output) });
  }

  fail(text: string, error: string | undefined, cause: string | undefined): void {
    this.#find(text).settle({ failure: new StateFailure(error, cause) });
  }

  heartbeat(text: string): void {
    this.#find(text).onHeartbeat();
  }

  /** The ARN of the machine a token belongs to, which is what IAM compares; undefined for what is not a token. */
  machineOf(text: string): string | undefined {
    const executionArn = this.#live.get(text)?.executionArn ?? executionOf(text);
    return executionArn && machineArnOf(executionArn);
  }

  #find(text: string): LiveToken {
    const token = this.#live.get(text);
    if (token !== undefined) return token;
    const executionArn = executionOf(text);
    if (executionArn === undefined) throw new AwsError('InvalidToken', "Invalid Token: 'Invalid token'");
    if (!this.#executionExists(executionArn)) {
      throw new AwsError('TaskDoesNotExist', "Task does not exist: 'The execution of the task does not exist'");
    }
    throw new AwsError('TaskTimedOut', "Task Timed Out: 'Provided task does not exist anymore'");
  }
}

function executionOf(text: string): string | undefined {
  try {
    const [executionArn] = JSON.parse(Buffer.from(text, 'base64').toString()) as unknown[];
    return typeof executionArn === 'string' && machineArnOf(executionArn) !== undefined ? executionArn : undefined;
  } catch {
    return undefined;
  }
}

function parseOutput(text: string): Payload {
  if (Buffer.byteLength(text) > MAX_PAYLOAD_BYTES) {
    throw new AwsError('InvalidOutput', `Invalid Output: 'The output is larger than ${MAX_PAYLOAD_BYTES} bytes'`);
  }
  try {
    return { value: JSON.parse(text) as Json, text };
  } catch {
    throw new AwsError('InvalidOutput', "Invalid Output: 'The output is not JSON'");
  }
}
