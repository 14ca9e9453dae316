import type { JsonObject, RequiredPermission } from '../core/service.ts';
import { hashValuesOf } from './query.ts';
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
import type { Tables } from './tables.ts';
import { type AttributeValue, type Item, typeOf } from './values.ts';

/** A transaction has no permission of its own; each action needs that of the like operation. */
const ACTION_OF: Record<WriteKind | 'Get', string> = {
  Put: 'PutItem',
  Update: 'UpdateItem',
  Delete: 'DeleteItem',
  ConditionCheck: 'ConditionCheckItem',
  Get: 'GetItem',
};

/**
 * The permissions a validated request needs, with the condition keys dynamodb:LeadingKeys (the partition keys it touches),
 * dynamodb:Select, dynamodb:ReturnValues and dynamodb:EnclosingOperation. dynamodb:Attributes is not among them.
 */
export function permissionsFor(operation: string, request: unknown, tables: Tables): RequiredPermission[] {
  const touching = (
    action: string,
    tableName: string,
    items: Item[],
    context: RequiredPermission['context'] = {},
  ): RequiredPermission => new Touch(tables, action, tableName, items, context);
  switch (operation) {
    case 'PutItem':
    case 'UpdateItem':
    case 'DeleteItem': {
      const { TableName, Item, Key, ReturnValues } = request as WriteRequest;
      const context = ReturnValues === undefined ? {} : { 'dynamodb:ReturnValues': ReturnValues };
      return [touching(operation, TableName, [Item ?? Key!], context)];
    }
    case 'GetItem': {
      const { TableName, Key } = request as GetRequest;
      return [touching(operation, TableName, [Key])];
    }
    case 'BatchGetItem':
      return Object.entries((request as BatchGetRequest).RequestItems).map(([table, { Keys }]) =>
        touching(operation, table, Keys),
      );
    case 'BatchWriteItem':
      return Object.entries((request as BatchWriteRequest).RequestItems).map(([table, writes]) =>
        touching(
          operation,
          table,
          writes.map((write) => write.PutRequest?.Item ?? write.DeleteRequest!.Key),
        ),
      );
    case 'TransactWriteItems':
    case 'TransactGetItems': {
      const { TransactItems } = request as TransactWriteRequest | TransactGetRequest;
      return TransactItems.flatMap((item) =>
        (Object.entries(item) as [WriteKind | 'Get', WriteRequest][]).map(([action, { TableName, Item, Key }]) =>
          touching(ACTION_OF[action], TableName, [Item ?? Key!], { 'dynamodb:EnclosingOperation': operation }),
        ),
      );
    }
    case 'Query':
    case 'Scan':
      return [pagePermission(operation, request as PageRequest, tables)];
    case 'ListTables':
      // Not about any one table: only a statement on `*` grants it.
      return [permission(operation, '*')];
    default:
      return [permission(operation, tables.arnOf((request as JsonObject).TableName as string))];
  }
}

/** A permission on items, by their keys. The context is worked out only for policies that read it. */
class Touch implements RequiredPermission {
  readonly action: string;
  readonly resource: string;
  readonly #tables: Tables;
  readonly #tableName: string;
  readonly #items: Item[];
  readonly #context: RequiredPermission['context'];

  constructor(
    tables: Tables,
    action: string,
    tableName: string,
    items: Item[],
    context: RequiredPermission['context'],
  ) {
    this.action = actionName(action);
    this.resource = tables.arnOf(tableName);
    this.#tables = tables;
    this.#tableName = tableName;
    this.#items = items;
    this.#context = context;
  }

  get context(): NonNullable<RequiredPermission['context']> {
    const partitionKey = this.#tables.find(this.#tableName)?.partitionKey;
    const values = partitionKey === undefined ? [] : this.#items.map((item) => item[partitionKey]);
    return { ...leadingKeys(values), ...this.#context };
  }
}

function pagePermission(operation: 'Query' | 'Scan', request: PageRequest, tables: Tables): RequiredPermission {
  const table = tables.find(request.TableName);
  const arn = tables.arnOf(request.TableName);
  const resource = request.IndexName === undefined ? arn : `${arn}/index/${request.IndexName}`;
  const hashKey = table?.viewOf(request.IndexName).keySchema[0]?.AttributeName;
  const values = operation === 'Query' && hashKey !== undefined ? hashValuesOf(request as QueryRequest, hashKey) : [];
  const select = request.Select === undefined ? {} : { 'dynamodb:Select': request.Select };
  return permission(operation, resource, { ...leadingKeys(values), ...select });
}

function permission(action: string, resource: string, context: RequiredPermission['context'] = {}): RequiredPermission {
  return { action: actionName(action), resource, context };
}

/** Made once: looking up a string that was just concatenated is slow. */
const actionNames = new Map<string, string>();

function actionName(action: string): string {
  let made = actionNames.get(action);
  if (made === undefined) {
    made = `dynamodb:${action}`;
    actionNames.set(action, made);
  }
  return made;
}

/** Absent, rather than empty, when no partition key is named, as for Scan. */
function leadingKeys(values: (AttributeValue | undefined)[]): Record<string, string[]> {
  const keys = values.filter((value) => value !== undefined).map((value) => String(value[typeOf(value)]));
  return keys.length > 0 ? { 'dynamodb:LeadingKeys': [...new Set(keys)] } : {};
}
