import { describe, expect, it } from 'vitest';
import type { JsonObject, RequiredPermission } from '../../../../embedded-aws/core/service.ts';
import { fixture, key, TABLE_ARN } from './fixture.ts';

const { db } = fixture();
const leading = (...keys: string[]) => ({ 'dynamodb:LeadingKeys': keys });
const permission = (
  action: string,
  context: RequiredPermission['context'] = {},
  resource = TABLE_ARN,
): RequiredPermission => ({
  action: `dynamodb:${action}`,
  resource,
  context,
});
const byPartition: JsonObject = {
  KeyConditionExpression: 'pk = :p',
  ExpressionAttributeValues: { ':p': { S: 'p' } },
};
const byStatus: JsonObject = {
  IndexName: 'byStatus',
  KeyConditionExpression: ':s = #s AND #r > :n',
  ExpressionAttributeNames: { '#s': 'status', '#r': 'rank' },
  ExpressionAttributeValues: { ':s': { S: 'open' }, ':n': { N: '1' } },
};
const stated = (permissions: RequiredPermission[]) =>
  permissions.map(({ action, resource, context }) => ({ action, resource, context }));
const inTransaction = (operation: string) => ({ 'dynamodb:EnclosingOperation': operation });

describe('permissions', () => {
  it.each<[string, JsonObject, RequiredPermission[]]>([
    ['PutItem', { Item: key('p', 's') }, [permission('PutItem', leading('p'))]],
    ['GetItem', { Key: key('p', 's') }, [permission('GetItem', leading('p'))]],
    [
      'UpdateItem',
      { Key: key('p', 's'), ReturnValues: 'ALL_NEW' },
      [permission('UpdateItem', { ...leading('p'), 'dynamodb:ReturnValues': 'ALL_NEW' })],
    ],
    ['DeleteItem', { Key: key('p', 's') }, [permission('DeleteItem', leading('p'))]],
    ['Query', byPartition, [permission('Query', leading('p'))]],
    ['Query', byStatus, [permission('Query', leading('open'), `${TABLE_ARN}/index/byStatus`)]],
    ['Scan', { Select: 'COUNT' }, [permission('Scan', { 'dynamodb:Select': 'COUNT' })]],
    ['Scan', { IndexName: 'byStatus' }, [permission('Scan', {}, `${TABLE_ARN}/index/byStatus`)]],
    ['DescribeTable', {}, [permission('DescribeTable')]],
  ])('%s %o', (operation, input, expected) => {
    expect(stated(db.requiredPermissions(operation, { TableName: 'things', ...input }))).toEqual(expected);
  });

  it.each<[string, JsonObject, RequiredPermission[]]>([
    [
      'BatchGetItem',
      { RequestItems: { things: { Keys: [key('p', '1'), key('q', '1'), key('p', '2')] } } },
      [permission('BatchGetItem', leading('p', 'q'))],
    ],
    [
      'BatchWriteItem',
      {
        RequestItems: { things: [{ PutRequest: { Item: key('p', '1') } }, { DeleteRequest: { Key: key('q', '1') } }] },
      },
      [permission('BatchWriteItem', leading('p', 'q'))],
    ],
    [
      'TransactWriteItems',
      {
        TransactItems: [
          { Put: { TableName: 'things', Item: key('a', 's') } },
          { Update: { TableName: 'things', Key: key('b', 's'), UpdateExpression: 'REMOVE x' } },
          { Delete: { TableName: 'things', Key: key('c', 's') } },
          { ConditionCheck: { TableName: 'things', Key: key('d', 's'), ConditionExpression: 'attribute_exists(pk)' } },
        ],
      },
      [
        permission('PutItem', { ...leading('a'), ...inTransaction('TransactWriteItems') }),
        permission('UpdateItem', { ...leading('b'), ...inTransaction('TransactWriteItems') }),
        permission('DeleteItem', { ...leading('c'), ...inTransaction('TransactWriteItems') }),
        permission('ConditionCheckItem', { ...leading('d'), ...inTransaction('TransactWriteItems') }),
      ],
    ],
    [
      'TransactGetItems',
      { TransactItems: [{ Get: { TableName: 'things', Key: key('a', 's') } }] },
      [permission('GetItem', { ...leading('a'), ...inTransaction('TransactGetItems') })],
    ],
    ['ListTables', {}, [permission('ListTables', {}, '*')]],
  ])('%s', (operation, input, expected) => {
    expect(stated(db.requiredPermissions(operation, input))).toEqual(expected);
  });

  it('names the resource, and no key, of a table it does not have', () => {
    const nowhere = TABLE_ARN.replace('things', 'nowhere');
    expect(stated(db.requiredPermissions('GetItem', { TableName: 'nowhere', Key: key('p', 's') }))).toEqual([
      permission('GetItem', {}, nowhere),
    ]);
  });
});
