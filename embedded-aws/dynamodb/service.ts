import { type JsonObject, notImplemented, type RequiredPermission, type Service } from '../core/service.ts';
import { batchGet, planBatchWrite } from './batches.ts';
import { query } from './query.ts';
import { get, scan } from './reads.ts';
import type {
  BatchGetRequest,
  BatchWriteRequest,
  GetRequest,
  PageRequest,
  QueryRequest,
  TransactGetRequest,
  TransactWriteRequest,
  WriteKind,
  WriteRequest,
} from './requests.ts';
import { permissionsFor } from './required-permissions.ts';
import { validate } from './rules.ts';
import { type StreamListener, Streams } from './streams.ts';
import { type Home, Tables } from './tables.ts';
import { CompletedTransactions, planTransaction } from './transactions.ts';
import type { Item } from './values.ts';
import { type Plan, plan, returnedValues } from './writes.ts';

export interface DynamoDb extends Service {
  /**
   * Calls the listener for every change of a table's items from now on, in the order of the changes and before the write
   * is answered. Returns what ends that. Fails with ResourceNotFoundException, or ValidationException when the table has
   * no stream.
   */
  onStreamRecord(tableName: string, listener: StreamListener): () => void;
}

/** Called with each change of an item, in any table, after the whole call that made it. */
export type ChangeListener = (before: Item | undefined, after: Item | undefined) => void;

type Operation = (request: never, input: JsonObject) => JsonObject;

/**
 * The embedded DynamoDB. All is in memory, and every call is carried out in one go: nothing waits, so a virtual clock can
 * run it, and no two calls ever interleave. Answers and stream records share their content with the store; who gets them
 * must not change them.
 */
export function createDynamoDb(home: Home & { onChange?: ChangeListener }): DynamoDb {
  const tables = new Tables(home);
  const streams = new Streams(home.clock, home.region);
  const completed = new CompletedTransactions(home.clock);

  const commit = (plans: readonly Plan[]) => {
    for (const { table, before, after } of plans) {
      if (before !== after) table.replace(before, after);
    }
    for (const planned of plans) {
      streams.publish(planned);
      if (planned.before !== planned.after) home.onChange?.(planned.before, planned.after);
    }
  };
  const write = (kind: WriteKind) => (request: WriteRequest) => {
    const planned = plan(kind, tables.get(request.TableName), request);
    commit([planned]);
    return returnedValues(request, planned);
  };

  const operations: Record<string, Operation> = {
    CreateTable: (request) => tables.create(request),
    DescribeTable: (request) => tables.describe(request),
    DeleteTable: (request) => tables.delete(request),
    ListTables: (request) => tables.list(request),
    UpdateTimeToLive: (request) => tables.updateTimeToLive(request),
    DescribeTimeToLive: (request) => tables.describeTimeToLive(request),
    PutItem: write('Put'),
    UpdateItem: write('Update'),
    DeleteItem: write('Delete'),
    GetItem: (request: GetRequest) => get(tables.get(request.TableName), request),
    Query: (request: QueryRequest) => query(tables.get(request.TableName), request),
    Scan: (request: PageRequest) => scan(tables.get(request.TableName), request),
    BatchGetItem: (request: BatchGetRequest) => batchGet(request, tables),
    BatchWriteItem: (request: BatchWriteRequest) => {
      commit(planBatchWrite(request, tables));
      return { UnprocessedItems: {} };
    },
    TransactWriteItems: (request: TransactWriteRequest, input) => {
      if (completed.has(input)) return {};
      commit(planTransaction(request, (name) => tables.get(name)));
      completed.add(input);
      return {};
    },
    TransactGetItems: (request: TransactGetRequest) => ({
      Responses: request.TransactItems.map(({ Get }) => get(tables.get(Get.TableName), Get)),
    }),
  };

  // Who asks for a call's required permissions makes the call next, with the same input: it is validated once.
  const validatedInputs = new WeakMap<JsonObject, unknown>();

  return {
    requiredPermissions(operation: string, input: JsonObject): RequiredPermission[] {
      if (!Object.hasOwn(operations, operation)) throw notImplemented(`dynamodb:${operation}`);
      const request = validate(operation, input);
      validatedInputs.set(input, request);
      return permissionsFor(operation, request, tables);
    },

    async call(operation: string, input: JsonObject): Promise<JsonObject> {
      const carryOut = Object.hasOwn(operations, operation) ? operations[operation] : undefined;
      if (!carryOut) throw notImplemented(`dynamodb:${operation}`);
      const request = validatedInputs.get(input) ?? validate(operation, input);
      validatedInputs.delete(input);
      return carryOut(request as never, input);
    },

    onStreamRecord: (tableName, listener) => streams.subscribe(tables.get(tableName), listener),
  };
}
