import { describe, expect, it } from 'vitest';
import type { StreamRecord } from '../../../../embedded-aws/dynamodb/streams.ts';
import { fixture, key, REGION, TABLE_ARN, THINGS } from './fixture.ts';

function recorded() {
  const db = fixture();
  const records: StreamRecord[] = [];
  const stop = db.db.onStreamRecord('things', (record) => records.push(record));
  return { ...db, records, stop };
}

describe('stream records', () => {
  it('carry every change, in order, with both images', async () => {
    const { put, things, records } = recorded();
    const first = { ...key('p', 's'), a: { N: '1' } };
    const second = { ...key('p', 's'), a: { N: '2' } };
    await put(first);
    await put(second);
    await things('DeleteItem', { Key: key('p', 's') });
    expect(records.map(({ eventName, dynamodb: { OldImage, NewImage } }) => [eventName, OldImage, NewImage])).toEqual([
      ['INSERT', undefined, first],
      ['MODIFY', first, second],
      ['REMOVE', second, undefined],
    ]);
    const numbers = records.map((record) => record.dynamodb.SequenceNumber);
    expect([...numbers].sort()).toEqual(numbers);
    expect(new Set([...numbers, ...records.map((record) => record.eventID)]).size).toBe(6);
    expect(records[0]).toMatchObject({
      eventSource: 'aws:dynamodb',
      eventSourceARN: `${TABLE_ARN}/stream/2026-01-01T00:00:00.000`,
      awsRegion: REGION,
      dynamodb: { Keys: key('p', 's'), StreamViewType: 'NEW_AND_OLD_IMAGES', ApproximateCreationDateTime: 1767225600 },
    });
  });

  it('are not made of writes that change nothing or fail', async () => {
    const { put, things, call, records } = recorded();
    const item = { ...key('p', 's'), set: { SS: ['a', 'b'] } };
    await put(item);
    await put({ ...item, set: { SS: ['b', 'a'] } });
    await things('UpdateItem', { Key: key('p', 's') });
    await things('DeleteItem', { Key: key('p', 'absent') });
    await things('PutItem', { Item: key('p', 's'), ConditionExpression: 'attribute_not_exists(pk)' }).catch(() => {});
    const check = { TableName: 'things', Key: key('p', 's'), ConditionExpression: 'attribute_exists(pk)' };
    await call('TransactWriteItems', { TransactItems: [{ ConditionCheck: check }] });
    expect(records).toHaveLength(1);
  });

  it('of a transaction come once all its items have changed', async () => {
    const { db, call, item } = recorded();
    const seen: Promise<unknown>[] = [];
    db.onStreamRecord('things', () => seen.push(Promise.all([item('p', '1'), item('p', '2')])));
    const puts = ['1', '2'].map((sk) => ({ Put: { TableName: 'things', Item: key('p', sk) } }));
    await call('TransactWriteItems', { TransactItems: puts });
    expect(await Promise.all(seen)).toEqual([
      [key('p', '1'), key('p', '2')],
      [key('p', '1'), key('p', '2')],
    ]);
  });

  it.each([
    ['KEYS_ONLY', []],
    ['NEW_IMAGE', ['NewImage']],
    ['OLD_IMAGE', ['OldImage']],
    ['NEW_AND_OLD_IMAGES', ['NewImage', 'OldImage']],
  ])('hold what the view %s says', async (StreamViewType, images) => {
    const { db, call } = fixture();
    const StreamSpecification = { StreamEnabled: true, StreamViewType };
    await call('CreateTable', { ...THINGS, TableName: 'viewed', StreamSpecification });
    const records: StreamRecord[] = [];
    db.onStreamRecord('viewed', (record) => records.push(record));
    await call('PutItem', { TableName: 'viewed', Item: key('p', 's') });
    await call('PutItem', { TableName: 'viewed', Item: { ...key('p', 's'), a: { S: 'x' } } });
    expect(Object.keys(records[1]!.dynamodb).filter((name) => name.endsWith('Image'))).toEqual(images);
  });

  it('end with the subscription', async () => {
    const { put, records, stop } = recorded();
    stop();
    await put(key('p', 's'));
    expect(records).toEqual([]);
  });

  it('need a table with a stream', async () => {
    const { db, call } = fixture();
    const { StreamSpecification: _, ...streamless } = THINGS;
    await call('CreateTable', { ...streamless, TableName: 'still' });
    expect(() => db.onStreamRecord('still', () => {})).toThrow('Table still has no stream enabled.');
    expect(() => db.onStreamRecord('nowhere', () => {})).toThrow('Requested resource not found');
  });
});
