import { AwsError, type CallAws, type Caller, type Json, type JsonObject } from '../core/service.ts';
import { failed } from './aws-json.ts';
import { converter, fromAttribute, type KeyNodes, NotPlain, plain, toAttribute } from './documents.ts';
import { sdkResponse } from './in-process.ts';

/** How a client's calls reach the services: without the wire, if this is given. */
export interface DirectRoute {
  call: CallAws;
  caller: Caller;
}

/** What is used of any AWS SDK v3 client and of its commands. */
interface SdkClient {
  send(command: SdkCommand, options?: object): Promise<unknown>;
  readonly config: { requestHandler: { handle(request: never, options?: object): Promise<unknown> } };
}
interface SdkCommand {
  readonly input: object;
  /** Its second and third parts are the service's namespace and the operation. */
  readonly schema?: readonly unknown[];
  /** Commands of the document client have these. */
  readonly clientCommand?: SdkCommand;
  readonly inputKeyNodes?: KeyNodes;
  readonly outputKeyNodes?: KeyNodes;
}

/**
 * The operations that are answered directly, by the service's namespace in the SDK's schemas, with the members of their answers
 * that are dates. All others go over the wire: what is not listed here has not been held against it (direct.test.ts).
 */
const OPERATIONS: Record<string, { service: string; operations: Record<string, readonly string[]> }> = {
  'com.amazonaws.dynamodb': {
    service: 'dynamodb',
    operations: {
      BatchGetItem: [],
      DeleteItem: [],
      GetItem: [],
      PutItem: [],
      Query: [],
      TransactWriteItems: [],
      UpdateItem: [],
    },
  },
  'com.amazonaws.eventbridge': { service: 'events', operations: { PutEvents: [] } },
  'com.amazonaws.sfn': {
    service: 'states',
    operations: {
      DescribeExecution: ['startDate', 'stopDate', 'redriveDate'],
      SendTaskFailure: [],
      SendTaskHeartbeat: [],
      SendTaskSuccess: [],
      StartExecution: ['startDate'],
    },
  },
  'com.amazonaws.ssm': {
    service: 'ssm',
    operations: { SendCommand: ['Command.RequestedDateTime', 'Command.ExpiresAfter'] },
  },
};

let wireCalls = 0;
/** Whether a call of such a client is under way that takes the ordinary way: it waits for turns of the event loop. */
export const wireIsInUse = (): boolean => wireCalls > 0;

/** Marks a request's options: the answer is known already. */
const ANSWER = Symbol('answer');

/**
 * Lets an SDK client's commands be answered from their inputs, without the SDK's middleware, a signature and JSON text in
 * between, which take ten times as long as the services do. Answers are what the client would give; one has no `$metadata`
 * to speak of. The first error of a kind is made by the client itself, out of its form on the wire, and those to come after it: so
 * they are of the client's own classes.
 *
 * `route` is asked at each call; while it gives nothing the client works as ever. Values that are not plain JSON (in documents
 * also sets of strings), such as dates and bytes, take the ordinary way too.
 */
export function answerDirectly(made: unknown, route: () => DirectRoute | undefined): void {
  const client = made as SdkClient;
  const send = client.send.bind(client);
  const overTheWire: typeof send = (...call) => {
    wireCalls += 1;
    return send(...call).finally(() => {
      wireCalls -= 1;
    });
  };
  const { requestHandler } = client.config;
  const handle = requestHandler.handle.bind(requestHandler);
  client.config.requestHandler = {
    ...requestHandler,
    handle: (request, options?: { [ANSWER]?: unknown }) =>
      options?.[ANSWER] === undefined ? handle(request, options) : Promise.resolve(options[ANSWER]),
  };

  /** The client's errors by their codes, as it makes them out of their form on the wire. */
  const errors = new Map<string, SdkError>();

  client.send = async (command, options) => {
    const way = route();
    const direct = way && operationOf(command);
    const input = direct && inputOf(direct, command);
    if (input === undefined) return overTheWire(command, options);
    const { service, operation, output } = direct!;
    try {
      return output(await way!.call(service, operation, input, way!.caller));
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      const like = errors.get(error.code);
      if (like !== undefined) throw again(like, error);
      const answer = { response: sdkResponse(failed(service, error)) };
      return overTheWire(command, { ...options, [ANSWER]: answer }).catch((made: SdkError) => {
        // It may be another one: that the call was aborted.
        if (made.name === error.code) errors.set(error.code, made);
        throw made;
      });
    }
  };
}

interface SdkError extends Error {
  $fault: string;
  $metadata: object;
}

/** An error of the same class as one that the client made before, with its own message. */
function again(like: SdkError, { message, status, extra }: AwsError): SdkError {
  const { name, $fault } = like;
  const Class = like.constructor as new (options: object) => SdkError;
  return new Class({ ...extra, name, $fault, message, $metadata: { ...$metadata, httpStatusCode: status } });
}

interface DirectOperation {
  service: string;
  operation: string;
  /** Throws NotPlain. */
  input(input: object): JsonObject;
  output(answer: JsonObject): object;
}

const $metadata = { httpStatusCode: 200, attempts: 1, totalRetryDelay: 0 };

/** By the operations' schemas, for the document client and for the others. */
const documentOperations = new WeakMap<object, DirectOperation | 'none'>();
const plainOperations = new WeakMap<object, DirectOperation | 'none'>();

function operationOf(command: SdkCommand): DirectOperation | undefined {
  const { schema } = command.clientCommand ?? command;
  if (schema === undefined) return undefined;
  const operations = command.inputKeyNodes === undefined ? plainOperations : documentOperations;
  let operation = operations.get(schema);
  if (operation === undefined) {
    operation = directOperation(schema, command) ?? 'none';
    operations.set(schema, operation);
  }
  return operation === 'none' ? undefined : operation;
}

function directOperation(
  schema: readonly unknown[],
  { inputKeyNodes, outputKeyNodes }: SdkCommand,
): DirectOperation | undefined {
  const [namespace, operation] = [String(schema[1]), String(schema[2])];
  const { service, operations } = OPERATIONS[namespace] ?? {};
  const dates = operations?.[operation];
  if (service === undefined || dates === undefined) return undefined;
  if (inputKeyNodes !== undefined && outputKeyNodes !== undefined) {
    const from = converter(fromAttribute, outputKeyNodes);
    return {
      service,
      operation,
      input: converter(toAttribute, inputKeyNodes) as (input: object) => JsonObject,
      output: (answer) => Object.assign(from(answer) as object, { $metadata }),
    };
  }
  // Of the low-level DynamoDB client, whose binary values would have to be looked for.
  if (service === 'dynamodb') return undefined;
  return {
    service,
    operation,
    input: (input) => plain(input) as JsonObject,
    output: (answer) => ({ ...withDates(answer, dates), $metadata }),
  };
}

function inputOf(operation: DirectOperation, command: SdkCommand): JsonObject | undefined {
  try {
    return operation.input(command.input);
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

/** Dates are seconds on the wire. */
function withDates(answer: JsonObject, paths: readonly string[]): object {
  const copy: Record<string, unknown> = { ...answer };
  for (const path of paths) {
    const [name, ...rest] = path.split('.') as [string, ...string[]];
    const value = copy[name] as Json | undefined;
    if (value === undefined || value === null) delete copy[name];
    else
      copy[name] = rest.length > 0 ? withDates(value as JsonObject, [rest.join('.')]) : new Date(Number(value) * 1_000);
  }
  return copy;
}
