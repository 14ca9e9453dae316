import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import { validate } from '../../../../embedded-aws/dynamodb/rules.ts';
import type { AttributeValue } from '../../../../embedded-aws/dynamodb/values.ts';
import { fixture, key } from './fixture.ts';

let tables = 0;
/** A table that was not named before: no request about it is cached. */
const freshTable = () => `table-${++tables}`;

function outcome(operation: string, input: JsonObject): unknown {
  try {
    return validate(operation, structuredClone(input));
  } catch (error) {
    return String(error);
  }
}

const put = (value: unknown) => (TableName: string) => ({
  TableName,
  Item: { ...key('p', 's'), value: value as AttributeValue },
});
const update = (values: Record<string, unknown>) => (TableName: string) => ({
  TableName,
  Key: key('p', 's'),
  UpdateExpression: 'SET #a = :a',
  ConditionExpression: '#b = :b OR size(#c) > :b',
  ExpressionAttributeNames: { '#a': 'a', '#b': 'b', '#c': 'c' },
  ExpressionAttributeValues: values as JsonObject,
});
const nested = (one: string, other: string) => (TableName: string) => ({
  TableName,
  Key: key('p', 's'),
  UpdateExpression: 'SET line.#one = :v, line.#other = :v REMOVE places.#one',
  ConditionExpression: 'attribute_exists(line.#one) AND attribute_not_exists(#other)',
  ExpressionAttributeNames: { '#one': one, '#other': other },
  ExpressionAttributeValues: { ':v': { S: 'x' } },
});
const between = (low: string, high: string) => (TableName: string) => ({
  TableName,
  KeyConditionExpression: 'pk = :p AND sk BETWEEN :low AND :high',
  ExpressionAttributeValues: { ':p': { S: 'p' }, ':low': { S: low }, ':high': { S: high } },
});
const transact = (n: string) => (TableName: string) => ({
  TransactItems: [
    { Put: { TableName, Item: { ...key('p', '1'), n: { N: n } } } },
    { Delete: { TableName, Key: key('p', '2'), ConditionExpression: 'attribute_exists(pk)' } },
  ],
});
const batch =
  (...ids: string[]) =>
  (TableName: string) => ({
    RequestItems: { [TableName]: { Keys: ids.map((id) => key('p', id)), ConsistentRead: true } },
  });
const many = Array.from({ length: 101 }, (_, index) => String(index));

type Request = (table: string) => JsonObject;
/** After the first request, the second may be taken for one like it. */
const PAIRS: [what: string, operation: string, first: Request, second: Request][] = [
  ['another value', 'PutItem', put({ S: 'a' }), put({ S: 'b' })],
  ['another type', 'PutItem', put({ S: 'a' }), put({ L: [{ M: { n: { N: '0.5' } } }] })],
  ['a number to be made canonical', 'PutItem', put({ N: '1' }), put({ N: '01.50' })],
  ['a number in scientific notation', 'PutItem', put({ N: '1' }), put({ N: '1e3' })],
  ['a fraction as long as any of a double', 'PutItem', put({ N: '1' }), put({ N: '0.09999999999999999' })],
  ['a number that is none', 'PutItem', put({ N: '1' }), put({ N: 'one' })],
  ['a number too great', 'PutItem', put({ N: '1' }), put({ N: '1e200' })],
  ['a number that is no text', 'PutItem', put({ N: '1' }), put({ N: 1 })],
  ['an empty set', 'PutItem', put({ SS: ['a'] }), put({ SS: [] })],
  ['a set with duplicates', 'PutItem', put({ SS: ['a', 'b'] }), put({ SS: ['a', 'a'] })],
  ['two types at once', 'PutItem', put({ S: 'a' }), put({ S: 'a', N: '1' })],
  ['no type', 'PutItem', put({ S: 'a' }), put({})],
  ['a false NULL', 'PutItem', put({ NULL: true }), put({ NULL: false })],
  ['an invalid value deep down', 'PutItem', put({ L: [{ S: 'a' }] }), put({ L: [{ M: { a: { SS: [] } } }] })],
  ['bytes', 'PutItem', put({ B: 'AAAA' }), put({ B: 'not base64' })],
  ['an item too large', 'PutItem', put({ S: 'a' }), put({ S: 'a'.repeat(410_000) })],
  [
    'other operands',
    'UpdateItem',
    update({ ':a': { S: 'x' }, ':b': { N: '1' } }),
    update({ ':a': { S: 'y' }, ':b': { N: '2' } }),
  ],
  [
    'an operand of another type',
    'UpdateItem',
    update({ ':a': { S: 'x' }, ':b': { N: '1' } }),
    update({ ':a': { S: 'x' }, ':b': { S: 'y' } }),
  ],
  [
    'an operand too many',
    'UpdateItem',
    update({ ':a': { S: 'x' }, ':b': { N: '1' } }),
    update({ ':a': { S: 'x' }, ':b': { N: '1' }, ':c': { N: '1' } }),
  ],
  ['an operand too few', 'UpdateItem', update({ ':a': { S: 'x' }, ':b': { N: '1' } }), update({ ':a': { S: 'x' } })],
  ['another name of data', 'UpdateItem', nested('vm-1', 'state'), nested('vm-22', 'state')],
  ['a name of data in place of one of the program', 'UpdateItem', nested('vm', 'state'), nested('vm-1', 'state')],
  ['a name of data elsewhere', 'UpdateItem', nested('vm-1', 'state'), nested('state', 'vm-1')],
  ['two names of data that are the same', 'UpdateItem', nested('vm-1', 'vm-2'), nested('vm-1', 'vm-1')],
  ['a name that is none', 'UpdateItem', nested('vm-1', 'state'), nested('', 'state')],
  ['bounds the wrong way round', 'Query', between('a', 'b'), between('b', 'a')],
  ['a transaction with another value', 'TransactWriteItems', transact('1'), transact('2')],
  ['a transaction with an invalid value', 'TransactWriteItems', transact('1'), transact('one')],
  ['other keys', 'BatchGetItem', batch('1', '2'), batch('3')],
  ['keys that repeat', 'BatchGetItem', batch('1', '2'), batch('1', '1')],
  ['too many keys', 'BatchGetItem', batch('1', '2'), batch(...many)],
];

describe('a request like one that was validated before', () => {
  it.each(PAIRS)('is judged as if it were the first: %s', (_, operation, first, second) => {
    const table = freshTable();
    expect(typeof outcome(operation, first(table))).toBe('object');
    const known = outcome(operation, second(table));
    const other = freshTable();
    const alone = JSON.stringify(outcome(operation, second(other))).replaceAll(other, table);
    expect(JSON.parse(JSON.stringify(known))).toEqual(JSON.parse(alone));
  });

  it('that has a member more is looked at anew', () => {
    const table = freshTable();
    outcome('PutItem', put({ S: 'a' })(table));
    expect(outcome('PutItem', { ...put({ S: 'a' })(table), ReturnValues: 'ALL_NEW' })).toContain('ReturnValues');
    expect(outcome('PutItem', { ...put({ S: 'a' })(table), Strange: 1 })).toContain('the parameter Strange');
  });

  it('is carried out with its own values', async () => {
    const { things, item } = fixture();
    for (const [sk, n] of ['5', '7'].entries()) {
      await things('UpdateItem', {
        Key: key('own', String(sk)),
        UpdateExpression: 'SET n = :n',
        ConditionExpression: 'attribute_not_exists(pk) OR n < :n',
        ExpressionAttributeValues: { ':n': { N: n } },
      });
      const { Items } = await things('Query', {
        KeyConditionExpression: 'pk = :p AND sk = :s',
        FilterExpression: 'n = :n',
        ExpressionAttributeValues: { ':p': { S: 'own' }, ':s': { S: String(sk) }, ':n': { N: n } },
      });
      expect(Items).toEqual([{ ...key('own', String(sk)), n: { N: n } }]);
    }
    expect((await item('own', '0'))?.n).toEqual({ N: '5' });
  });

  it('is carried out with its own names', async () => {
    const { things, item } = fixture();
    await things('PutItem', { Item: { ...key('own', 'names'), line: { M: {} } } });
    for (const id of ['vm-1', 'vm-2']) {
      await things('UpdateItem', {
        Key: key('own', 'names'),
        UpdateExpression: 'SET line.#id = :v',
        ConditionExpression: 'attribute_not_exists(line.#id)',
        ExpressionAttributeNames: { '#id': id },
        ExpressionAttributeValues: { ':v': { S: id } },
      });
    }
    expect((await item('own', 'names'))?.line).toEqual({ M: { 'vm-1': { S: 'vm-1' }, 'vm-2': { S: 'vm-2' } } });
  });
});
