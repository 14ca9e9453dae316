import { AwsError, type Json, type JsonObject } from '../../core/service.ts';
import { runtimeFailure, StateFailure } from '../common/failures.ts';
import { isObject } from '../diagnostics/fields.ts';

/** What a Task's `Resource` stands for. Errors are thrown as StateFailures under the names AWS gives them. */
export interface Integration {
  /** As in the execution history: `lambda` and `invoke.waitForTaskToken`. */
  readonly resourceType: string;
  readonly resource: string;
  /** Whether the task runs until its task token is answered. */
  readonly waitsForToken: boolean;
  /** Makes the request; its answer is the task's result, or only its submission if the task waits for its token. */
  request(task: TaskRequest): Promise<Json>;
  /** `.sync`: waits for the end of what was submitted, or until `interrupted` rejects. */
  complete?(task: TaskRequest, submitted: Json, interrupted: Promise<never>): Promise<Json>;
}

export interface TaskRequest {
  readonly arguments: JsonObject;
  readonly executionArn: string;
  readonly stateMachineArn: string;
  /** Calls a service as the state machine's role. */
  call(service: string, operation: string, input: JsonObject): Promise<JsonObject>;
  /** Resolves when an execution has ended, whichever way. */
  whenEnded(executionArn: string): Promise<void>;
}

/** How an integration names a service's errors. */
export interface ErrorNames {
  readonly prefix: string;
  /** What errors are called that the service's model does not list, such as a refusal by IAM. */
  readonly unmodelled: string;
}

const UNMODELLED = new Set([
  'AccessDeniedException',
  'AccessDenied',
  'ThrottlingException',
  'Throttling',
  'ValidationException',
  'ValidationError',
]);

/** Calls a service and renames its errors; what is not an AWS error at all goes through. */
export async function callNaming(
  names: ErrorNames,
  task: TaskRequest,
  service: string,
  operation: string,
  input: JsonObject,
): Promise<JsonObject> {
  try {
    return await task.call(service, operation, input);
  } catch (error) {
    throw error instanceof AwsError ? renamed(names, error) : error;
  }
}

function renamed({ prefix, unmodelled }: ErrorNames, { code, message, status }: AwsError): StateFailure {
  // What the embedded AWS lacks must not be mistaken for a failure that the machine's own Catch is there to handle.
  if (code === 'NotImplemented') return runtimeFailure(message);
  const name = UNMODELLED.has(code)
    ? unmodelled
    : `${prefix}.${code.endsWith('Exception') ? code : `${code}Exception`}`;
  return new StateFailure(name, `${message} (Service: ${prefix}, Status Code: ${status})`);
}

/** Renames every member by the given rule, at all depths: the states API says `stateMachineArn`, a Task `StateMachineArn`. */
export function renameKeys(value: Json, rename: (key: string) => string): Json {
  if (Array.isArray(value)) return value.map((item) => renameKeys(item, rename));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), renameKeys(item, rename)]));
}

export const pascalCase = (key: string) => key.charAt(0).toUpperCase() + key.slice(1);
export const camelCase = (key: string) => key.charAt(0).toLowerCase() + key.slice(1);
