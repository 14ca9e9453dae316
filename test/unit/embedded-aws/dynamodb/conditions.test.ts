import { beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { type Fixture, fixture } from './fixture.ts';

const subject: Item = {
  pk: { S: 'p' },
  sk: { S: 's' },
  word: { S: 'migrate' },
  blank: { S: '' },
  amount: { N: '10' },
  off: { BOOL: false },
  nothing: { NULL: true },
  bytes: { B: Buffer.from('abc').toString('base64') },
  set: { SS: ['a', 'b'] },
  list: { L: [{ S: 'x' }, { M: { deep: { N: '1' } } }] },
  map: { M: { inner: { M: { leaf: { S: 'green' } } } } },
};

const values: JsonObject = {
  ':word': { S: 'migrate' },
  ':other': { S: 'other' },
  ':mig': { S: 'mig' },
  ':empty': { S: '' },
  ':nine': { N: '9' },
  ':ten': { N: '1e1' },
  ':eleven': { N: '11' },
  ':off': { BOOL: false },
  ':null': { NULL: true },
  ':a': { S: 'a' },
  ':ba': { SS: ['b', 'a'] },
  ':list': { L: [{ S: 'x' }, { M: { deep: { N: '1.0' } } }] },
  ':deep': { M: { deep: { N: '1' } } },
  ':three': { N: '3' },
  ':zero': { N: '0' },
  ':bool': { S: 'BOOL' },
  ':ab': { B: Buffer.from('ab').toString('base64') },
};

describe('conditions', () => {
  let db: Fixture;
  beforeAll(async () => {
    db = fixture();
    await db.put(subject);
  });

  it.each([
    ['word = :word', true],
    ['word = :other', false],
    ['word <> :other', true],
    ['absent = :other', false],
    ['absent <> :other', true],
    ['blank = :empty', true],
    ['off = :off', true],
    ['nothing = :null', true],
    ['#set = :ba', true],
    ['#list = :list', true],
    ['amount = :ten', true],
    ['amount > :nine', true],
    ['amount < :nine', false],
    ['amount >= :ten AND amount <= :ten', true],
    ['amount < :word', false],
    ['absent < :nine', false],
    ['word < :other', true],
    ['amount BETWEEN :nine AND :eleven', true],
    ['amount BETWEEN :ten AND :eleven', true],
    ['amount BETWEEN :eleven AND :eleven', false],
    ['word IN (:other, :word)', true],
    ['off IN (:off)', true],
    ['blank IN (:other, :empty)', true],
    ['absent IN (:other)', false],
    ['attribute_exists(off)', true],
    ['attribute_exists(#map.#inner.leaf)', true],
    ['attribute_exists(#list[1].deep)', true],
    ['attribute_exists(#list[2])', false],
    ['attribute_not_exists(absent)', true],
    ['attribute_not_exists(toString)', true],
    ['attribute_type(off, :bool)', true],
    ['attribute_type(word, :bool)', false],
    ['begins_with(word, :mig)', true],
    ['begins_with(word, :other)', false],
    ['begins_with(#bytes, :ab)', true],
    ['contains(word, :mig)', true],
    ['contains(#set, :a)', true],
    ['contains(#set, :mig)', false],
    ['contains(#list, :deep)', true],
    ['size(#bytes) = :three', true],
    ['size(blank) = :zero', true],
    ['size(#set) < :three', true],
    ['size(absent) < :three', false],
    ['NOT word = :word', false],
    ['word = :other OR amount = :ten', true],
    ['word = :other OR (amount = :ten AND NOT off = :off)', false],
  ])('%s is %s', async (condition, holds) => {
    const names = { '#set': 'set', '#list': 'list', '#map': 'map', '#inner': 'inner', '#bytes': 'bytes' };
    const used = <T>(all: Record<string, T>) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => new RegExp(`${name}\\b`).test(condition)));
    const input: JsonObject = {
      Item: subject,
      ConditionExpression: condition,
      ...(condition.includes('#') && { ExpressionAttributeNames: used(names) }),
      ...(condition.includes(':') && { ExpressionAttributeValues: used(values) as JsonObject }),
    };
    const outcome = await db.things('PutItem', input).then(
      () => true,
      (error) => (error.code === 'ConditionalCheckFailedException' ? false : error),
    );
    expect(outcome).toBe(holds);
  });

  it('judges an expression used again by the values of each request', async () => {
    const holds = (value: string) =>
      db
        .things('PutItem', {
          Item: subject,
          ConditionExpression: 'word = :v',
          ExpressionAttributeValues: { ':v': { S: value } },
        })
        .then(
          () => true,
          () => false,
        );
    expect([await holds('migrate'), await holds('other'), await holds('migrate')]).toEqual([true, false, true]);
  });

  it.each([
    [{ ConditionExpression: 'status = :v' }, 'Attribute name is a reserved keyword; reserved keyword: status'],
    [{ ConditionExpression: 'word = ' }, 'Invalid ConditionExpression: Syntax error'],
    [{ ConditionExpression: 'word = :missing' }, 'attribute value: :missing'],
    [
      { ConditionExpression: 'word = :v', ExpressionAttributeValues: { ':v': { S: 'x' }, ':w': { S: 'y' } } },
      'Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}',
    ],
    [
      { ConditionExpression: 'word = :v', ExpressionAttributeNames: { '#n': 'n' } },
      'Value provided in ExpressionAttributeNames unused in expressions: keys: {#n}',
    ],
  ])('refuses %o in the words of DynamoDB, each time', async (parameters, message) => {
    const input: JsonObject = { Item: subject, ExpressionAttributeValues: { ':v': { S: 'x' } }, ...parameters };
    for (let time = 1; time <= 2; time++) {
      await expect(db.things('PutItem', { ...input })).rejects.toMatchObject({
        code: 'ValidationException',
        message: expect.stringContaining(message),
      });
    }
  });
});
