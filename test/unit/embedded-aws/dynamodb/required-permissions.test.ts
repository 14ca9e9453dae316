import { describe, expect, it } from 'vitest';
import type { Demand, JsonObject } from '../../../../embedded-aws/service.ts';
import { fixture, key, TABLE_ARN } from './fixture.ts';

const { db } = fixture();
const leading = (...keys: string[]) => ({ 'dynamodb:LeadingKeys': keys });
const demand = (action: string, context: Demand['context'] = {}, resource = TABLE_ARN): Demand => ({
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
const stated = (demands: Demand[]) => demands.map(({ action, resource, context }) => ({ action, resource, context }));
const inTransaction = (operation: string) => ({ 'dynamodb:EnclosingOperation': operation });

describe('demands', () => {
  it.each<[string, JsonObject, Demand[]]>([
    ['PutItem', { Item: key('p', 's') }, [demand('PutItem', leading('p'))]],
    ['GetItem', { Key: key('p', 's') }, [demand('GetItem', leading('p'))]],
    [
      'UpdateItem',
      { Key: key('p', 's'), ReturnValues: 'ALL_NEW' },
      [demand('UpdateItem', { ...leading('p'), 'dynamodb:ReturnValues': 'ALL_NEW' })],
    ],
    ['DeleteItem', { Key: key('p', 's') }, [demand('DeleteItem', leading('p'))]],
    ['Query', byPartition, [demand('Query', leading('p'))]],
    ['Query', byStatus, [demand('Query', leading('open'), `${TABLE_ARN}/index/byStatus`)]],
    ['Scan', { Select: 'COUNT' }, [demand('Scan', { 'dynamodb:Select': 'COUNT' })]],
    ['Scan', { IndexName: 'byStatus' }, [demand('Scan', {}, `${TABLE_ARN}/index/byStatus`)]],
    ['DescribeTable', {}, [demand('DescribeTable')]],
  ])('%s %o', (operation, input, expected) => {
    expect(stated(db.demands(operation, { TableName: 'things', ...input }))).toEqual(expected);
  });

  it.each<[string, JsonObject, Demand[]]>([
    [
      'BatchGetItem',
      { RequestItems: { things: { Keys: [key('p', '1'), key('q', '1'), key('p', '2')] } } },
      [demand('BatchGetItem', leading('p', 'q'))],
    ],
    [
      'BatchWriteItem',
      {
        RequestItems: { things: [{ PutRequest: { Item: key('p', '1') } }, { DeleteRequest: { Key: key('q', '1') } }] },
      },
      [demand('BatchWriteItem', leading('p', 'q'))],
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
        demand('PutItem', { ...leading('a'), ...inTransaction('TransactWriteItems') }),
        demand('UpdateItem', { ...leading('b'), ...inTransaction('TransactWriteItems') }),
        demand('DeleteItem', { ...leading('c'), ...inTransaction('TransactWriteItems') }),
        demand('ConditionCheckItem', { ...leading('d'), ...inTransaction('TransactWriteItems') }),
      ],
    ],
    [
      'TransactGetItems',
      { TransactItems: [{ Get: { TableName: 'things', Key: key('a', 's') } }] },
      [demand('GetItem', { ...leading('a'), ...inTransaction('TransactGetItems') })],
    ],
    ['ListTables', {}, [demand('ListTables', {}, '*')]],
  ])('%s', (operation, input, expected) => {
    expect(stated(db.demands(operation, input))).toEqual(expected);
  });

  it('names the resource, and no key, of a table it does not have', () => {
    const nowhere = TABLE_ARN.replace('things', 'nowhere');
    expect(stated(db.demands('GetItem', { TableName: 'nowhere', Key: key('p', 's') }))).toEqual([
      demand('GetItem', {}, nowhere),
    ]);
  });
});
