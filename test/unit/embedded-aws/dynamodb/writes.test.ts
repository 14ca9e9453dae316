import { beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import { type Fixture, failure, fixture, key, THINGS } from './fixture.ts';

const old = { ...key('p', 's'), a: { S: 'old' }, b: { S: 'kept' } };
let db: Fixture;

beforeEach(async () => {
  db = fixture();
  await db.put(old);
});

describe('ReturnValues', () => {
  const update: JsonObject = {
    Key: key('p', 's'),
    UpdateExpression: 'SET a = :a',
    ExpressionAttributeValues: { ':a': { S: 'new' } },
  };

  it.each([
    ['PutItem', { Item: key('p', 's') }, undefined, {}],
    ['PutItem', { Item: key('p', 's') }, 'ALL_OLD', { Attributes: old }],
    ['PutItem', { Item: key('p', 'new') }, 'ALL_OLD', {}],
    ['DeleteItem', { Key: key('p', 's') }, 'ALL_OLD', { Attributes: old }],
    ['DeleteItem', { Key: key('p', 'new') }, 'ALL_OLD', {}],
    ['UpdateItem', update, 'NONE', {}],
    ['UpdateItem', update, 'ALL_OLD', { Attributes: old }],
    ['UpdateItem', update, 'ALL_NEW', { Attributes: { ...old, a: { S: 'new' } } }],
    ['UpdateItem', update, 'UPDATED_OLD', { Attributes: { a: { S: 'old' } } }],
    ['UpdateItem', update, 'UPDATED_NEW', { Attributes: { a: { S: 'new' } } }],
    ['UpdateItem', { ...update, Key: key('p', 'new') }, 'UPDATED_OLD', {}],
  ] as [string, JsonObject, string | undefined, JsonObject][])(
    '%s %o %s',
    async (operation, input, returned, answer) => {
      expect(await db.things(operation, { ...input, ...(returned && { ReturnValues: returned }) })).toEqual(answer);
    },
  );
});

describe('a failed condition', () => {
  const refused: JsonObject = { Item: key('p', 's'), ConditionExpression: 'attribute_not_exists(pk)' };

  it('changes nothing', async () => {
    const error = await failure(db.things('PutItem', refused));
    expect(error).toMatchObject({
      code: 'ConditionalCheckFailedException',
      message: 'The conditional request failed',
      status: 400,
      extra: {},
    });
    expect(await db.item('p', 's')).toEqual(old);
  });

  it.each([
    ['PutItem', refused],
    ['DeleteItem', { Key: key('p', 's'), ConditionExpression: 'attribute_not_exists(pk)' }],
    [
      'UpdateItem',
      { Key: key('p', 's'), ConditionExpression: 'attribute_not_exists(pk)', UpdateExpression: 'REMOVE a' },
    ],
  ] as [string, JsonObject][])('of %s gives the item where asked to', async (operation, input) => {
    const error = await failure(db.things(operation, { ...input, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' }));
    expect(error.extra).toEqual({ Item: old });
  });
});

describe('an item that grows by updates', () => {
  const set = (name: string, length: number) =>
    db.things('UpdateItem', {
      Key: key('p', 's'),
      UpdateExpression: `SET ${name} = :text`,
      ExpressionAttributeValues: { ':text': { S: 'x'.repeat(length) } },
    });

  it('may be as large as DynamoDB has it, and no larger', async () => {
    for (const name of ['one', 'two', 'three']) await set(name, 130_000);
    const before = await db.item('p', 's');
    expect(await failure(set('four', 30_000))).toMatchObject({
      code: 'ValidationException',
      message: expect.stringContaining('Item size to update has exceeded'),
    });
    expect(await db.item('p', 's')).toEqual(before);
  });

  it('is not too large for what it once held', async () => {
    for (let turn = 0; turn < 10; turn++) await set('one', 130_000);
    await set('one', 1);
    for (const name of ['two', 'three', 'four']) await set(name, 130_000);
  });
});

describe('requests that cannot be', () => {
  it.each([
    ['PutItem', { Item: { pk: { S: 'p' } } }, 'Missing the key sk in the item'],
    ['PutItem', { Item: { pk: { S: 'p' }, sk: { N: '1' } } }, 'Type mismatch for key sk expected: S actual: N'],
    ['PutItem', { Item: { ...key('p', 's'), status: { N: '1' } } }, 'Type mismatch for Index Key status'],
    ['PutItem', { Item: { ...key('p', 's'), status: { S: '' } } }, 'IndexName: byStatus, IndexKey: status'],
    [
      'PutItem',
      { Item: { ...key('p', 's'), n: { N: 'ten' } } },
      'The parameter cannot be converted to a numeric value',
    ],
    ['PutItem', { Item: { ...key('p', 's'), big: { S: 'x'.repeat(410_000) } } }, 'Item size has exceeded'],
    ['GetItem', { Key: { pk: { S: 'p' } } }, 'The provided key element does not match the schema'],
    ['UpdateItem', { Key: key('', 's') }, 'cannot contain an empty string value. Key: pk'],
    [
      'UpdateItem',
      { Key: key('p', 's'), UpdateExpression: 'SET #s = a.b', ExpressionAttributeNames: { '#s': 'status' } },
      'refers to an attribute that does not exist',
    ],
    [
      'UpdateItem',
      { Key: key('p', 's'), UpdateExpression: 'SET #r = a', ExpressionAttributeNames: { '#r': 'rank' } },
      'attempted to update the secondary index key to unsupported type',
    ],
  ] as [string, JsonObject, string][])('%s %#: %s', async (operation, input, message) => {
    expect(await failure(db.things(operation, input))).toMatchObject({
      code: 'ValidationException',
      message: expect.stringContaining(message),
    });
    expect(await db.item('p', 's')).toEqual(old);
  });

  it('names the table it does not have', async () => {
    const error = await failure(db.call('GetItem', { TableName: 'nowhere', Key: key('p', 's') }));
    expect(error).toMatchObject({ code: 'ResourceNotFoundException', message: 'Requested resource not found' });
  });

  it.each([
    ['PutItem', { Item: old, Expected: {} }, 'the parameter Expected of dynamodb:PutItem'],
    ['PutItem', { Item: old, ReturnConsumedCapacity: 'TOTAL' }, 'the parameter ReturnConsumedCapacity'],
    ['PutItem', { Item: old, Novelty: 1 }, 'the parameter Novelty of dynamodb:PutItem'],
    ['Scan', { TotalSegments: 2, Segment: 0 }, 'the parameter TotalSegments of dynamodb:Scan'],
    ['ExecuteStatement', {}, 'dynamodb:ExecuteStatement'],
    ['toString', {}, 'dynamodb:toString'],
  ] as [string, JsonObject, string][])('%s %o is not implemented, and says so', async (operation, input, what) => {
    const expected = { code: 'NotImplemented', message: expect.stringContaining(what) };
    expect(await failure(db.things(operation, input))).toMatchObject(expected);
    expect(() => db.db.requiredPermissions(operation, { TableName: 'things', ...input })).toThrow(what);
  });

  it('takes ReturnConsumedCapacity NONE', async () => {
    expect(await db.things('PutItem', { Item: old, ReturnConsumedCapacity: 'NONE' })).toEqual({});
  });
});

describe('BatchWriteItem', () => {
  const put = (sk: string): JsonObject => ({ PutRequest: { Item: key('batch', sk) } });

  it('puts and deletes', async () => {
    const input = { RequestItems: { things: [put('1'), { DeleteRequest: { Key: key('p', 's') } }] } };
    expect(await db.call('BatchWriteItem', input)).toEqual({ UnprocessedItems: {} });
    expect([await db.item('batch', '1'), await db.item('p', 's')]).toEqual([key('batch', '1'), undefined]);
  });

  it.each([
    [[put('1'), { DeleteRequest: { Key: key('batch', '1') } }], 'Provided list of item keys contains duplicates'],
    [Array.from({ length: 26 }, (_, i) => put(`${i}`)), 'Member must have length less than or equal to 25'],
    [[put('1'), { PutRequest: { Item: { pk: { S: 'batch' } } } }], 'Missing the key sk in the item'],
  ] as [JsonObject[], string][])('writes nothing when refused (%#)', async (writes, message) => {
    expect((await failure(db.call('BatchWriteItem', { RequestItems: { things: writes } }))).message).toContain(message);
    expect(await db.item('batch', '1')).toBeUndefined();
  });

  it('counts the writes to all tables together', async () => {
    await db.call('CreateTable', { ...THINGS, TableName: 'others' });
    const [first, second] = [0, 13].map((from) => Array.from({ length: 13 }, (_, i) => put(`${from + i}`)));
    const error = await failure(db.call('BatchWriteItem', { RequestItems: { things: first!, others: second! } }));
    expect(error.message).toBe('Too many items requested for the BatchWriteItem call');
  });
});
