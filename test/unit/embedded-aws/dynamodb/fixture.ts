import type { AwsError, Caller, JsonObject } from '../../../../embedded-aws/core/service.ts';
import { createDynamoDb } from '../../../../embedded-aws/dynamodb/service.ts';
import type { Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

export const ACCOUNT = '123456789012';
export const REGION = 'eu-central-1';
export const TABLE_ARN = `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/things`;

export const admin: Caller = {
  arn: `arn:aws:iam::${ACCOUNT}:root`,
  userId: ACCOUNT,
  statements: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
};

export const THINGS: JsonObject = {
  TableName: 'things',
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' },
    { AttributeName: 'sk', AttributeType: 'S' },
    { AttributeName: 'status', AttributeType: 'S' },
    { AttributeName: 'rank', AttributeType: 'N' },
  ],
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
  GlobalSecondaryIndexes: [
    {
      IndexName: 'byStatus',
      KeySchema: [
        { AttributeName: 'status', KeyType: 'HASH' },
        { AttributeName: 'rank', KeyType: 'RANGE' },
      ],
      Projection: { ProjectionType: 'KEYS_ONLY' },
    },
  ],
  StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' },
};

export type Fixture = ReturnType<typeof fixture>;

/** An embedded DynamoDB with the table `things` (key pk, sk; index byStatus of status, rank), and short ways to use it. */
export function fixture() {
  const clock = new VirtualClock();
  const db = createDynamoDb({ clock, region: REGION, account: ACCOUNT });
  const call = (operation: string, input: JsonObject) => db.call(operation, input, admin);
  const things = (operation: string, input: JsonObject) => call(operation, { TableName: 'things', ...input });
  void call('CreateTable', THINGS);
  return {
    clock,
    db,
    call,
    things,
    put: (item: Item) => things('PutItem', { Item: item }),
    item: async (pk: string, sk: string) => (await things('GetItem', { Key: key(pk, sk) })).Item as Item | undefined,
  };
}

export function key(pk: string, sk: string): Item {
  return { pk: { S: pk }, sk: { S: sk } };
}

/** The error a call must end with. */
export async function failure(call: Promise<unknown>): Promise<AwsError> {
  return call.then(
    () => Promise.reject(new Error('The call succeeded.')),
    (error) => error,
  );
}
