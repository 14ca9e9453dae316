import { beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { type Fixture, failure, fixture, key } from './fixture.ts';

let db: Fixture;
beforeEach(() => {
  db = fixture();
});

const action = (kind: string, more: JsonObject): JsonObject => ({ [kind]: { TableName: 'things', ...more } });
const put = (sk: string, more: JsonObject = {}) => action('Put', { Item: key('p', sk), ...more });
const transact = (TransactItems: JsonObject[], more: JsonObject = {}) =>
  db.call('TransactWriteItems', { TransactItems, ...more });
const absent = { ConditionExpression: 'attribute_not_exists(pk)' };
const present = { ConditionExpression: 'attribute_exists(pk)' };

describe('TransactWriteItems', () => {
  it('does all its actions, each judged on the items as they were before', async () => {
    await db.put({ ...key('p', 'updated'), n: { N: '1' } });
    await db.put(key('p', 'deleted'));
    await db.put(key('p', 'checked'));
    const answer = await transact([
      put('new', absent),
      action('Update', {
        Key: key('p', 'updated'),
        UpdateExpression: 'ADD n :one',
        ExpressionAttributeValues: { ':one': { N: '1' } },
      }),
      action('Delete', { Key: key('p', 'deleted'), ...present }),
      action('ConditionCheck', { Key: key('p', 'checked'), ...present }),
    ]);
    expect(answer).toEqual({});
    const { Items } = await db.things('Scan', {});
    expect(Items).toEqual([key('p', 'checked'), key('p', 'new'), { ...key('p', 'updated'), n: { N: '2' } }]);
  });

  it('does nothing when one condition fails, and gives the reasons in the order of the actions', async () => {
    const taken: Item = { ...key('p', 'taken'), owner: { S: 'me' } };
    await db.put(taken);
    const records: unknown[] = [];
    db.db.onStreamRecord('things', (record) => records.push(record));
    const error = await failure(
      transact([
        put('first'),
        put('taken', { ...absent, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' }),
        action('ConditionCheck', { Key: key('p', 'gone'), ...present, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' }),
        action('Update', { Key: key('p', 'x'), UpdateExpression: 'SET a = absent' }),
        put('last'),
      ]),
    );
    const message = 'The conditional request failed';
    expect(error).toMatchObject({
      code: 'TransactionCanceledException',
      message:
        'Transaction cancelled, please refer cancellation reasons for specific reasons ' +
        '[None, ConditionalCheckFailed, ConditionalCheckFailed, ValidationError, None]',
    });
    expect(error.extra.CancellationReasons).toEqual([
      { Code: 'None' },
      { Code: 'ConditionalCheckFailed', Message: message, Item: taken },
      { Code: 'ConditionalCheckFailed', Message: message },
      { Code: 'ValidationError', Message: expect.stringContaining('does not exist in the item') },
      { Code: 'None' },
    ]);
    expect((await db.things('Scan', {})).Items).toEqual([taken]);
    expect(records).toEqual([]);
  });

  it.each<[string, JsonObject[], string]>([
    [
      'two actions on one item',
      [put('1'), action('Delete', { Key: key('p', '1') })],
      'multiple operations on one item',
    ],
    ['no action', [], 'Member must have length greater than or equal to 1'],
    ['over 100 actions', Array.from({ length: 101 }, (_, i) => put(`${i}`)), 'length less than or equal to 100'],
    ['two kinds in one', [{ ...put('1'), ...action('Delete', { Key: key('p', '2') }) }], 'only contain one of'],
    ['a check without condition', [action('ConditionCheck', { Key: key('p', '1') })], 'conditionExpression'],
    ['an update without expression', [action('Update', { Key: key('p', '1') })], 'updateExpression'],
    ['a bad expression', [put('1', { ConditionExpression: 'a = ' })], 'Invalid ConditionExpression: Syntax error'],
    [
      'a changed key',
      [action('Update', { Key: key('p', '1'), UpdateExpression: 'REMOVE pk' })],
      'Cannot update attribute pk',
    ],
    ['a bad key', [action('Delete', { Key: { pk: { S: 'p' } } })], 'does not match the schema'],
  ])('refuses %s', async (_, actions, message) => {
    expect(await failure(transact(actions))).toMatchObject({
      code: 'ValidationException',
      message: expect.stringContaining(message),
    });
  });
});

describe('ClientRequestToken', () => {
  const ClientRequestToken = 'transition-7';
  const increment = action('Update', {
    Key: key('p', 'counter'),
    UpdateExpression: 'ADD n :one',
    ExpressionAttributeValues: { ':one': { N: '1' } },
  });
  const counter = async () => (await db.item('p', 'counter'))?.n?.N;

  it('has a repeated transaction done once within ten minutes', async () => {
    for (const minutes of [0, 5, 4.9]) {
      await db.clock.advance(minutes * 60_000);
      await transact([increment], { ClientRequestToken });
      expect(await counter()).toBe('1');
    }
    await db.clock.advance(6_000);
    await transact([increment], { ClientRequestToken });
    expect(await counter()).toBe('2');
  });

  it('refuses the token for another transaction', async () => {
    await transact([increment], { ClientRequestToken });
    const error = await failure(transact([put('other')], { ClientRequestToken }));
    expect(error.code).toBe('IdempotentParameterMismatchException');
    expect(await db.item('p', 'other')).toBeUndefined();
  });

  it('of a cancelled transaction is free for the next try', async () => {
    const guarded = [put('1', present)];
    expect((await failure(transact(guarded, { ClientRequestToken }))).code).toBe('TransactionCanceledException');
    await db.put(key('p', '1'));
    expect(await transact(guarded, { ClientRequestToken })).toEqual({});
  });
});
