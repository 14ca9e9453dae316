import { type JsonObject, notImplemented } from '../core/service.ts';
import { limits, type MemberTypes, type RequestRules, rulesOf, validated } from './dynalite.ts';
import { cacheParsers } from './expressions.ts';
import type { GetRequest, TransactGetRequest, TransactWriteRequest, WriteKind, WriteRequest } from './requests.ts';
import type { TableDefinition } from './table.ts';
import { remember, requestLikeBefore, shapeOf } from './validation-cache.ts';

/** What expressions have replaced, and what nothing here answers. dynalite would take it. */
const REFUSED = [
  'AttributesToGet',
  'AttributeUpdates',
  'ConditionalOperator',
  'Expected',
  'KeyConditions',
  'QueryFilter',
  'ScanFilter',
  'Segment',
  'TotalSegments',
  'ReturnConsumedCapacity',
  'ReturnItemCollectionMetrics',
];

const onConditionFailure = { ReturnValuesOnConditionCheckFailure: { type: 'String', enum: ['ALL_OLD', 'NONE'] } };
const conditionRequired = { ConditionExpression: { type: 'String', notNull: true } };
const updateRequired = { UpdateExpression: { type: 'String', notNull: true } };

const put = rulesFor('PutItem', onConditionFailure);
const update = rulesFor('UpdateItem', onConditionFailure);
const remove = rulesFor('DeleteItem', onConditionFailure);
const get = rulesFor('GetItem');
const batchGet = rulesFor('BatchGetItem');

/** What the actions of a transaction are checked by beyond their members. */
const customOf: Record<WriteKind, RequestRules['custom']> = {
  Put: put.custom,
  Update: update.custom,
  Delete: remove.custom,
  ConditionCheck: remove.custom,
};

const streamViewTypes = ['KEYS_ONLY', 'NEW_IMAGE', 'OLD_IMAGE', 'NEW_AND_OLD_IMAGES'];

const rules: Record<string, RequestRules> = {
  CreateTable: createTable(),
  DescribeTable: rulesFor('DescribeTable'),
  DeleteTable: rulesFor('DeleteTable'),
  ListTables: rulesFor('ListTables'),
  DescribeTimeToLive: rulesFor('DescribeTimeToLive'),
  UpdateTimeToLive: {
    types: {
      ...rulesOf('DescribeTimeToLive').types,
      TimeToLiveSpecification: {
        type: 'FieldStruct<TimeToLiveSpecification>',
        notNull: true,
        children: {
          AttributeName: { type: 'String', notNull: true, lengthGreaterThanOrEqual: 1, lengthLessThanOrEqual: 255 },
          Enabled: { type: 'Boolean', notNull: true },
        },
      },
    },
    custom: () => undefined,
  },
  PutItem: put,
  UpdateItem: update,
  DeleteItem: remove,
  GetItem: get,
  Query: rulesFor('Query'),
  Scan: rulesFor('Scan', { ConsistentRead: 'Boolean' }),
  BatchGetItem: {
    ...batchGet,
    custom: (request) => refuseAttributesToGet(request) ?? batchGet.custom(request, limits),
  },
  BatchWriteItem: rulesFor('BatchWriteItem'),
  TransactWriteItems: {
    types: {
      ClientRequestToken: { type: 'String', lengthGreaterThanOrEqual: 1, lengthLessThanOrEqual: 36 },
      TransactItems: transactItems('TransactWriteItem', {
        Put: put.types,
        Update: { ...update.types, ...updateRequired },
        Delete: remove.types,
        ConditionCheck: { ...remove.types, ...conditionRequired },
      }),
    },
    custom: (request) => complaintAboutWrites(request as TransactWriteRequest),
  },
  TransactGetItems: {
    types: { TransactItems: transactItems('TransactGetItem', { Get: get.types }) },
    custom: (request) => complaintAboutGets(request as TransactGetRequest),
  },
};

cacheParsers();

/**
 * Checks a request as DynamoDB does before it reads any table, and parses its expressions.
 * Fails with ValidationException or SerializationException in DynamoDB's own words, and with NotImplemented for a
 * parameter that the embedded DynamoDB does not know, since to overlook it would be to act wrongly.
 */
export function validate<Request>(operation: string, input: JsonObject): Request {
  const shape = shapeOf(operation, input);
  const known = shape && requestLikeBefore(shape);
  if (known) return known as Request;
  const rule = rules[operation];
  if (!rule) throw notImplemented(`dynamodb:${operation}`);
  for (const [name, value] of Object.entries(input)) {
    const asksForNothing = value === undefined || value === null || (REFUSED.includes(name) && value === 'NONE');
    if (!asksForNothing && !Object.hasOwn(rule.types, name)) {
      throw notImplemented(`the parameter ${name} of dynamodb:${operation}`);
    }
  }
  const request = validated(input, rule);
  if (shape) remember(request, shape);
  return request as Request;
}

function rulesFor(operation: string, more: MemberTypes = {}): RequestRules {
  const { types, custom } = rulesOf(operation);
  return { types: { ...without(types, REFUSED), ...more }, custom };
}

function without(types: MemberTypes, names: readonly string[]): MemberTypes {
  return Object.fromEntries(Object.entries(types).filter(([name]) => !names.includes(name)));
}

/** Encryption, class and tags are taken and change nothing, since none of the operations here would show them. */
function createTable(): RequestRules {
  const { types, custom } = rulesOf('CreateTable');
  return {
    types: {
      ...without(types, ['LocalSecondaryIndexes']),
      DeletionProtectionEnabled: 'Boolean',
      StreamSpecification: {
        type: 'FieldStruct<StreamSpecification>',
        children: {
          StreamEnabled: { type: 'Boolean', notNull: true },
          StreamViewType: { type: 'String', enum: streamViewTypes },
        },
      },
      SSESpecification: { type: 'FieldStruct<SSESpecification>', children: {} },
      TableClass: 'String',
      Tags: { type: 'List', children: { type: 'ValueStruct<Tag>', children: { Key: 'String', Value: 'String' } } },
    },
    custom: (request) => custom(request, limits) ?? complaintAboutStream(request as TableDefinition),
  };
}

function complaintAboutStream({ StreamSpecification: stream }: TableDefinition): string | undefined {
  if (!stream || stream.StreamEnabled === (stream.StreamViewType !== undefined)) return undefined;
  return stream.StreamEnabled
    ? 'One or more parameter values were invalid: StreamEnabled is true, but StreamViewType is not specified'
    : 'One or more parameter values were invalid: StreamEnabled is false, but StreamViewType is specified';
}

/** The list of a transaction's actions: those of the like-named operations, less what has no meaning within one. */
function transactItems(item: string, actions: Record<string, MemberTypes>): object {
  const children = Object.entries(actions).map(([action, types]) => [
    action,
    { type: `FieldStruct<${action}>`, children: without(types, ['ReturnValues', 'ConsistentRead']) },
  ]);
  return {
    type: 'List',
    notNull: true,
    lengthGreaterThanOrEqual: 1,
    lengthLessThanOrEqual: 100,
    children: { type: `ValueStruct<${item}>`, children: Object.fromEntries(children) },
  };
}

function refuseAttributesToGet({ RequestItems }: { RequestItems?: object }): undefined {
  for (const keys of Object.values(RequestItems ?? {})) {
    if ('AttributesToGet' in keys) throw notImplemented('the parameter AttributesToGet of dynamodb:BatchGetItem');
  }
}

function complaintAboutWrites({ TransactItems }: TransactWriteRequest): string | undefined {
  for (const item of TransactItems) {
    const actions = Object.entries(item) as [WriteKind, WriteRequest][];
    if (actions.length !== 1) return 'TransactItems can only contain one of Check, Put, Update or Delete';
    for (const [action, request] of actions) {
      const complaint = customOf[action](request, limits);
      if (complaint) return complaint;
    }
  }
  return undefined;
}

function complaintAboutGets({ TransactItems }: TransactGetRequest): string | undefined {
  for (const { Get } of TransactItems as { Get?: GetRequest }[]) {
    if (!Get) return 'TransactItems must contain a Get';
    const complaint = get.custom(Get, limits);
    if (complaint) return complaint;
  }
  return undefined;
}
