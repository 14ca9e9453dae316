import { beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { type Fixture, failure, fixture, key } from './fixture.ts';

let db: Fixture;
beforeEach(() => {
  db = fixture();
});

const sortKeys = (answer: JsonObject) => (answer.Items as Item[]).map((item) => item.sk!.S);

describe('GetItem', () => {
  it('gives what a projection names', async () => {
    await db.put({ ...key('p', 's'), doc: { M: { a: { N: '1' }, b: { N: '2' } } }, rest: { S: 'x' } });
    const input = { Key: key('p', 's'), ProjectionExpression: 'sk, doc.b, absent' };
    expect(await db.things('GetItem', input)).toEqual({ Item: { sk: { S: 's' }, doc: { M: { b: { N: '2' } } } } });
  });

  it('answers without an item when there is none', async () => {
    expect(await db.things('GetItem', { Key: key('p', 's') })).toEqual({});
  });
});

describe('Query', () => {
  const inOrder = ['a', 'a\u0000', 'a/', 'aa', 'ab', 'b', 'é', '\uffff', '😀'];

  beforeEach(async () => {
    for (const sk of ['b', '😀', 'ab', 'a', 'é', 'aa', '\uffff', 'a/', 'a\u0000']) {
      await db.put({ ...key('p', sk), own: { S: sk } });
    }
    await db.put(key('q', 'a'));
    await db.put(key('pp', 'a'));
  });

  const query = (condition: string, values: JsonObject, more: JsonObject = {}) =>
    db.things('Query', {
      KeyConditionExpression: condition,
      ExpressionAttributeValues: { ':p': { S: 'p' }, ...values },
      ...more,
    });

  it.each([
    ['pk = :p', {}, inOrder],
    [':p = pk', {}, inOrder],
    ['pk = :p AND sk = :a', { ':a': 'a' }, ['a']],
    ['sk = :a AND pk = :p', { ':a': 'zz' }, []],
    ['pk = :p AND sk < :a', { ':a': 'aa' }, ['a', 'a\u0000', 'a/']],
    ['pk = :p AND sk <= :a', { ':a': 'aa' }, ['a', 'a\u0000', 'a/', 'aa']],
    ['pk = :p AND :a >= sk', { ':a': 'aa' }, ['a', 'a\u0000', 'a/', 'aa']],
    ['pk = :p AND sk > :a', { ':a': 'b' }, ['é', '\uffff', '😀']],
    ['pk = :p AND sk >= :a', { ':a': 'b' }, ['b', 'é', '\uffff', '😀']],
    ['pk = :p AND sk BETWEEN :a AND :b', { ':a': 'aa', ':b': 'b' }, ['aa', 'ab', 'b']],
    ['pk = :p AND begins_with(sk, :a)', { ':a': 'a' }, ['a', 'a\u0000', 'a/', 'aa', 'ab']],
  ])('%s with %o', async (condition, strings, expected) => {
    const values = Object.fromEntries(Object.entries(strings).map(([name, S]) => [name, { S }]));
    expect(sortKeys(await query(condition, values))).toEqual(expected);
    expect(sortKeys(await query(condition, values, { ScanIndexForward: false }))).toEqual([...expected].reverse());
  });

  it.each([true, false])('pages through everything once (ScanIndexForward %s)', async (forward) => {
    const found: unknown[] = [];
    let start: JsonObject = {};
    for (let page = 1; ; page++) {
      const answer = await query('pk = :p', {}, { Limit: 4, ScanIndexForward: forward, ...start });
      found.push(...sortKeys(answer));
      if (!answer.LastEvaluatedKey) break;
      expect(page).toBeLessThan(4);
      start = { ExclusiveStartKey: answer.LastEvaluatedKey };
    }
    expect(found).toEqual(forward ? inOrder : [...inOrder].reverse());
  });

  it('filters after it has read a page, and counts both', async () => {
    const filter = { FilterExpression: 'own IN (:a, :p)', Limit: 2 };
    const { Items, ...counts } = await query('pk = :p', { ':a': { S: 'a' } }, filter);
    expect(Items).toHaveLength(1);
    expect(counts).toEqual({ Count: 1, ScannedCount: 2, LastEvaluatedKey: key('p', 'a\u0000') });
  });

  it('counts without items for Select COUNT', async () => {
    expect(await query('pk = :p', {}, { Select: 'COUNT' })).toEqual({ Count: 9, ScannedCount: 9 });
  });

  it.each<[string, JsonObject, JsonObject, string]>([
    ['sk = :p', {}, {}, 'Query condition missed key schema element: pk'],
    ['pk > :p', {}, {}, 'Query key condition not supported'],
    ['pk = :p AND own = :p', {}, {}, 'Query condition missed key schema element: sk'],
    ['pk = :p AND sk = :n', { ':n': { N: '1' } }, {}, 'Condition parameter type does not match schema type'],
    ['pk = :p AND sk <> :p', {}, {}, 'Invalid operator used in KeyConditionExpression: <>'],
    ['pk = :p', {}, { FilterExpression: 'sk = :p' }, 'Primary key attribute: sk'],
    ['pk = :p', {}, { IndexName: 'byNobody' }, 'The table does not have the specified index: byNobody'],
    ['pk = :p', {}, { ExclusiveStartKey: { pk: { S: 'p' } } }, 'The provided starting key is invalid'],
    ['pk = :p', {}, { ExclusiveStartKey: key('q', 'a') }, 'outside query boundaries'],
  ])('refuses %s %o %o', async (condition, values, more, message) => {
    expect(await failure(query(condition, values, more))).toMatchObject({
      code: 'ValidationException',
      message: expect.stringContaining(message),
    });
  });
});

describe('a global secondary index', () => {
  const byStatus = (more: JsonObject = {}) =>
    db.things('Query', {
      IndexName: 'byStatus',
      KeyConditionExpression: '#s = :s',
      ExpressionAttributeNames: { '#s': 'status' },
      ExpressionAttributeValues: { ':s': { S: 'open' } },
      ...more,
    });
  const open = (sk: string, rank: string): Item => ({ ...key('p', sk), status: { S: 'open' }, rank: { N: rank } });

  it('follows every write, holds the keys alone, and leaves out items without its key', async () => {
    await db.put({ ...open('1', '1'), own: { S: 'x' } });
    await db.put(open('2', '2'));
    await db.put({ ...key('p', '3'), status: { S: 'open' } });
    expect((await byStatus()).Items).toEqual([open('1', '1'), open('2', '2')]);
    await db.things('UpdateItem', {
      Key: key('p', '1'),
      UpdateExpression: 'REMOVE #r',
      ExpressionAttributeNames: { '#r': 'rank' },
    });
    await db.things('DeleteItem', { Key: key('p', '2') });
    await db.put(open('3', '3'));
    expect((await byStatus()).Items).toEqual([open('3', '3')]);
  });

  it('sorts numbers by value and distinguishes items with equal keys when paging', async () => {
    const ranks = ['-100', '-5.5', '-5.05', '-5', '0', '0.001', '5', '5', '5', '45', '1e20'];
    for (const [i, rank] of [...ranks.entries()].sort(([a], [b]) => ((a * 7) % 11) - ((b * 7) % 11))) {
      await db.put(open(`item ${i}`, rank));
    }
    const found: Item[] = [];
    let start: JsonObject = {};
    do {
      const answer = await byStatus({ Limit: 3, ...start });
      found.push(...(answer.Items as Item[]));
      start = answer.LastEvaluatedKey ? { ExclusiveStartKey: answer.LastEvaluatedKey } : {};
    } while (start.ExclusiveStartKey);
    expect(found.map((item) => Number(item.rank!.N))).toEqual(ranks.map(Number));
    expect(new Set(found.map((item) => item.sk!.S)).size).toBe(ranks.length);
  });

  it.each([
    [{ ConsistentRead: true }, 'Consistent reads are not supported on global secondary indexes'],
    [{ Select: 'ALL_ATTRIBUTES' }, 'because its projection type is not ALL'],
  ])('refuses %o', async (more, message) => {
    expect((await failure(byStatus(more))).message).toContain(message);
  });
});

describe('Scan', () => {
  it('pages through all partitions once, also while items go', async () => {
    for (let i = 0; i < 25; i++) await db.put(key(`p${i % 7}`, `${i}`));
    const found: unknown[] = [];
    let start: JsonObject = {};
    do {
      const answer = await db.things('Scan', { Limit: 4, ...start });
      found.push(...sortKeys(answer));
      start = answer.LastEvaluatedKey ? { ExclusiveStartKey: answer.LastEvaluatedKey } : {};
      if (answer.LastEvaluatedKey) await db.things('DeleteItem', { Key: answer.LastEvaluatedKey });
    } while (start.ExclusiveStartKey);
    expect(found.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 25 }, (_, i) => i));
  });

  it('ends a page at 1 MB', async () => {
    for (let i = 0; i < 4; i++) await db.put({ ...key('p', `${i}`), big: { S: 'x'.repeat(390_000) } });
    expect(await db.things('Scan', { Select: 'COUNT' })).toMatchObject({ Count: 3, LastEvaluatedKey: key('p', '2') });
  });
});

describe('BatchGetItem and TransactGetItems', () => {
  it('give the items there are', async () => {
    await db.put(key('p', '1'));
    const batch = { RequestItems: { things: { Keys: [key('p', '1'), key('p', '2')] } } };
    expect(await db.call('BatchGetItem', batch)).toEqual({
      Responses: { things: [key('p', '1')] },
      UnprocessedKeys: {},
    });
    const gets = ['2', '1'].map((sk) => ({ Get: { TableName: 'things', Key: key('p', sk) } }));
    expect(await db.call('TransactGetItems', { TransactItems: gets })).toEqual({
      Responses: [{}, { Item: key('p', '1') }],
    });
  });

  it('refuses what expressions replaced, inside too', async () => {
    const batch = { RequestItems: { things: { Keys: [key('p', '1')], AttributesToGet: ['pk'] } } };
    expect((await failure(db.call('BatchGetItem', batch))).code).toBe('NotImplemented');
  });
});
