import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { AttributeValue, Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { failure, fixture, key } from './fixture.ts';

const before: Item = {
  count: { N: '5' },
  slots: { SS: ['a', 'b'] },
  journal: { L: [{ S: '0' }, { S: '1' }, { S: '2' }, { S: '3' }] },
  doc: { M: { phase: { S: 'copy' } } },
};

async function updated(expression: string, values: Record<string, AttributeValue>, item = before) {
  const db = fixture();
  await db.put({ ...key('p', 's'), ...item });
  const input: JsonObject = {
    Key: key('p', 's'),
    UpdateExpression: expression,
    ReturnValues: 'ALL_NEW',
    ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: values }),
    ...(expression.includes('#count') && { ExpressionAttributeNames: { '#count': 'count' } }),
  };
  const { pk: _, sk: __, ...attributes } = (await db.things('UpdateItem', input)).Attributes as Item;
  return attributes;
}

describe('update expressions', () => {
  it.each<[string, Record<string, AttributeValue>, Item]>([
    ['SET fresh = :v', { ':v': { S: 'x' } }, { ...before, fresh: { S: 'x' } }],
    ['SET #count = #count + :n', { ':n': { N: '0.5' } }, { ...before, count: { N: '5.5' } }],
    ['SET #count = :n - #count', { ':n': { N: '1' } }, { ...before, count: { N: '-4' } }],
    [
      'SET #count = #count + :n',
      { ':n': { N: '12345678901234567890123456789012345' } },
      { ...before, count: { N: '12345678901234567890123456789012350' } },
    ],
    ['SET fresh = if_not_exists(fresh, :v)', { ':v': { N: '1' } }, { ...before, fresh: { N: '1' } }],
    ['SET #count = if_not_exists(#count, :v)', { ':v': { N: '1' } }, before],
    [
      'SET doc.phase = :v, doc.pass = #count',
      { ':v': { S: 'cut' } },
      { ...before, doc: { M: { phase: { S: 'cut' }, pass: { N: '5' } } } },
    ],
    [
      'SET journal = list_append(journal, :l)',
      { ':l': { L: [{ S: '4' }] } },
      { ...before, journal: { L: [...before.journal!.L!, { S: '4' }] } },
    ],
    [
      'SET journal[9] = :v, journal[0] = :w',
      { ':v': { S: 'end' }, ':w': { S: 'start' } },
      { ...before, journal: { L: [{ S: 'start' }, { S: '1' }, { S: '2' }, { S: '3' }, { S: 'end' }] } },
    ],
    ['REMOVE journal[1], journal[2]', {}, { ...before, journal: { L: [{ S: '0' }, { S: '3' }] } }],
    ['REMOVE journal[7], absent', {}, before],
    ['REMOVE doc.phase', {}, { ...before, doc: { M: {} } }],
    ['ADD #count :n', { ':n': { N: '-6' } }, { ...before, count: { N: '-1' } }],
    ['ADD fresh :n', { ':n': { N: '2' } }, { ...before, fresh: { N: '2' } }],
    ['ADD slots :s', { ':s': { SS: ['b', 'c'] } }, { ...before, slots: { SS: ['a', 'b', 'c'] } }],
    ['DELETE slots :s', { ':s': { SS: ['b', 'c'] } }, { ...before, slots: { SS: ['a'] } }],
    [
      'DELETE slots :s',
      { ':s': { SS: ['a', 'b'] } },
      { count: before.count!, journal: before.journal!, doc: before.doc! },
    ],
    ['DELETE fresh :s', { ':s': { SS: ['a'] } }, before],
  ])('%s with %o', async (expression, values, after) => {
    expect(await updated(expression, values)).toEqual(after);
  });

  it('takes all operands from the item as it was', async () => {
    const swapped = await updated('SET doc = journal, journal = doc REMOVE slots', {});
    expect(swapped).toEqual({ count: before.count, doc: before.journal, journal: before.doc });
  });

  it.each<[string, Record<string, AttributeValue>, string]>([
    ['SET fresh = absent', {}, 'The provided expression refers to an attribute that does not exist in the item'],
    ['SET absent.leaf = :v', { ':v': { S: 'x' } }, 'The document path provided in the update expression is invalid'],
    ['SET #count = slots + :n', { ':n': { N: '1' } }, 'An operand in the update expression has an incorrect data type'],
    ['ADD slots :n', { ':n': { N: '1' } }, 'An operand in the update expression has an incorrect data type'],
    ['SET doc = :v, doc.phase = :v', { ':v': { S: 'x' } }, 'Two document paths overlap with each other'],
    ['SET pk = :v', { ':v': { S: 'x' } }, 'Cannot update attribute pk. This attribute is part of the key'],
    ['SET #count = #count + :n', { ':n': { N: '9e125' } }, '38 significant digits'],
  ])('refuses %s with %o', async (expression, values, message) => {
    expect(await failure(updated(expression, values))).toMatchObject({
      code: 'ValidationException',
      message: expect.stringContaining(message),
    });
  });

  it('leaves what it refused, and what it was given, untouched', async () => {
    const db = fixture();
    await db.put({ ...key('p', 's'), ...before });
    const list: AttributeValue = { L: [{ S: 'x' }] };
    await db.things('UpdateItem', {
      Key: key('p', 's'),
      UpdateExpression: 'SET a = :l, b = :l',
      ExpressionAttributeValues: { ':l': list },
    });
    await db.things('UpdateItem', { Key: key('p', 's'), UpdateExpression: 'REMOVE a[0]' });
    await failure(db.things('UpdateItem', { Key: key('p', 's'), UpdateExpression: 'REMOVE journal SET x = absent' }));
    expect(await db.item('p', 's')).toEqual({ ...key('p', 's'), ...before, a: { L: [] }, b: { L: [{ S: 'x' }] } });
    expect(list).toEqual({ L: [{ S: 'x' }] });
  });
});
