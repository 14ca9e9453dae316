import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import { failure, fixture, key, TABLE_ARN, THINGS } from './fixture.ts';

describe('tables', () => {
  it('are described as they were created, ACTIVE at once', async () => {
    const { things, put } = fixture();
    await put(key('p', 's'));
    const { Table } = (await things('DescribeTable', {})) as { Table: JsonObject };
    expect(Table).toMatchObject({
      TableArn: TABLE_ARN,
      TableStatus: 'ACTIVE',
      ItemCount: 1,
      KeySchema: THINGS.KeySchema,
      AttributeDefinitions: THINGS.AttributeDefinitions,
      StreamSpecification: THINGS.StreamSpecification,
      LatestStreamArn: `${TABLE_ARN}/stream/2026-01-01T00:00:00.000`,
      GlobalSecondaryIndexes: [
        { IndexName: 'byStatus', IndexStatus: 'ACTIVE', IndexArn: `${TABLE_ARN}/index/byStatus` },
      ],
    });
  });

  it('are listed by name, in pages', async () => {
    const { call } = fixture();
    for (const TableName of ['zzz', 'aaa']) await call('CreateTable', { ...THINGS, TableName });
    expect(await call('ListTables', { Limit: 2 })).toEqual({
      TableNames: ['aaa', 'things'],
      LastEvaluatedTableName: 'things',
    });
    expect(await call('ListTables', { ExclusiveStartTableName: 'things' })).toEqual({ TableNames: ['zzz'] });
  });

  it('are gone, items and all, once deleted', async () => {
    const { call, things, put, item } = fixture();
    await put(key('p', 's'));
    await things('DeleteTable', {});
    const error = await failure(things('DescribeTable', {}));
    expect(error).toMatchObject({
      code: 'ResourceNotFoundException',
      message: 'Requested resource not found: Table: things not found',
    });
    await call('CreateTable', THINGS);
    expect(await item('p', 's')).toBeUndefined();
  });

  it('can be protected from deletion', async () => {
    const { call } = fixture();
    await call('CreateTable', { ...THINGS, TableName: 'safe', DeletionProtectionEnabled: true });
    expect((await failure(call('DeleteTable', { TableName: 'safe' }))).message).toContain('protected against deletion');
  });

  it('keep their TTL setting', async () => {
    const { things } = fixture();
    const disabled = { TimeToLiveDescription: { TimeToLiveStatus: 'DISABLED' } };
    expect(await things('DescribeTimeToLive', {})).toEqual(disabled);
    await things('UpdateTimeToLive', { TimeToLiveSpecification: { AttributeName: 'expiresAt', Enabled: true } });
    expect(await things('DescribeTimeToLive', {})).toEqual({
      TimeToLiveDescription: { TimeToLiveStatus: 'ENABLED', AttributeName: 'expiresAt' },
    });
  });

  it.each<[string, JsonObject, string, string]>([
    ['a name already taken', {}, 'ResourceInUseException', 'Table already exists: things'],
    [
      'a key without definition',
      { TableName: 'new', KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }] },
      'ValidationException',
      'Some index key attributes are not defined in AttributeDefinitions',
    ],
    [
      'a stream without view',
      { TableName: 'new', StreamSpecification: { StreamEnabled: true } },
      'ValidationException',
      'StreamViewType is not specified',
    ],
    ['a local index', { TableName: 'new', LocalSecondaryIndexes: [] }, 'NotImplemented', 'LocalSecondaryIndexes'],
  ])('refuse %s', async (_, input, code, message) => {
    const { call } = fixture();
    const error = await failure(call('CreateTable', { ...THINGS, ...input }));
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });
});
