import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  PutItemCommand,
  ResourceNotFoundException,
  TransactionCanceledException,
  TransactWriteItemsCommand,
} from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { ExecutionAlreadyExists, SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import { DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsError, type Caller, type JsonObject, type Service } from '../../../embedded-aws/core/service.ts';
import { inProcessTransport } from '../../../embedded-aws/endpoint/in-process.ts';
import { type Listener, listen } from '../../../embedded-aws/endpoint/listen.ts';
import { createWire } from '../../../embedded-aws/endpoint/wire.ts';
import { authorizedCalls } from '../../../embedded-aws/iam/call.ts';
import { ACCOUNT, admin, fixture, REGION, TABLE_ARN } from '../../unit/embedded-aws/dynamodb/fixture.ts';

const key = (pk: string, sk: string) => ({ pk: { S: pk }, sk: { S: sk } });

/** What reached a service other than DynamoDB. */
const calls: [string, JsonObject, Caller][] = [];

function recorder(answer: () => JsonObject): Service {
  return {
    requiredPermissions: (operation) => [{ action: `any:${operation}`, resource: '*' }],
    call: async (operation, input, caller) => {
      calls.push([operation, input, caller]);
      return answer();
    },
  };
}

const reader: Caller = {
  arn: `arn:aws:sts::${ACCOUNT}:assumed-role/reader/one`,
  userId: 'AROAREADER:one',
  statements: [{ Effect: 'Allow', Action: 'dynamodb:GetItem', Resource: TABLE_ARN }],
};

const wire = createWire({
  account: ACCOUNT,
  call: authorizedCalls({
    dynamodb: fixture().db,
    states: recorder(() => {
      throw new AwsError('ExecutionAlreadyExists', 'Execution Already Exists: x');
    }),
    ssm: recorder(() => ({ Command: { CommandId: 'c-1', RequestedDateTime: 1767225600.25 } })),
    events: recorder(() => ({ FailedEntryCount: 0, Entries: [{ EventId: 'e-1' }] })),
  }),
  callerForAccessKey: (accessKey) => ({ local: admin, READER: reader })[accessKey],
  httpApi: async () => ({ status: 404, headers: {}, body: '' }),
});

let listener: Listener;
beforeAll(async () => {
  listener = await listen(wire, { hosts: ['127.0.0.1'], port: 0 });
});
afterAll(() => listener.close());

const overHttp = (accessKeyId = 'local') => ({
  region: REGION,
  endpoint: `http://127.0.0.1:${listener.port}`,
  credentials: { accessKeyId, secretAccessKey: 'any' },
  maxAttempts: 1,
});
let current: Caller | undefined = admin;
const inProcess = (accessKeyId = 'local') => ({
  region: REGION,
  requestHandler: inProcessTransport(wire, () => current),
  credentials: { accessKeyId, secretAccessKey: 'any' },
  maxAttempts: 1,
});

describe.each([
  ['over HTTP', overHttp],
  ['in process', inProcess],
])('SDK clients %s', (way, config) => {
  const id = (sk: string) => ({ pk: way, sk });

  it('write and read documents', async () => {
    const documents = DynamoDBDocumentClient.from(new DynamoDBClient(config()));
    const item = {
      ...id('doc'),
      n: 12.5,
      ok: false,
      tags: new Set(['a']),
      bytes: new Uint8Array([1, 255]),
      deep: [{ a: null }],
    };
    await documents.send(new PutCommand({ TableName: 'things', Item: item }));
    const { Item } = await documents.send(new GetCommand({ TableName: 'things', Key: id('doc') }));
    expect(Item).toEqual(item);
    const { Attributes } = await documents.send(
      new UpdateCommand({
        TableName: 'things',
        Key: id('doc'),
        UpdateExpression: 'SET n = n + :one',
        ExpressionAttributeValues: { ':one': 1 },
        ReturnValues: 'UPDATED_NEW',
      }),
    );
    expect(Attributes).toEqual({ n: 13.5 });
    const { Items, Count } = await documents.send(
      new QueryCommand({
        TableName: 'things',
        KeyConditionExpression: 'pk = :p',
        ExpressionAttributeValues: { ':p': way },
        ProjectionExpression: 'sk',
      }),
    );
    expect([Items, Count]).toEqual([[{ sk: 'doc' }], 1]);
  });

  it('get errors of their own types, with all their members', async () => {
    const client = new DynamoDBClient(config());
    const held = { ...key(way, 'held'), owner: { S: 'other' } };
    await client.send(new PutItemCommand({ TableName: 'things', Item: held }));
    const put = {
      TableName: 'things',
      Item: key(way, 'held'),
      ConditionExpression: 'attribute_not_exists(pk)',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    } as const;

    const refused = await client.send(new PutItemCommand(put)).catch((error) => error);
    expect(refused).toBeInstanceOf(ConditionalCheckFailedException);
    expect(refused).toMatchObject({ message: 'The conditional request failed', Item: held });
    expect(refused.$metadata).toMatchObject({
      httpStatusCode: 400,
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });

    const TransactItems = [{ Put: { TableName: 'things', Item: key(way, 'free') } }, { Put: put }];
    const cancelled = await client.send(new TransactWriteItemsCommand({ TransactItems })).catch((error) => error);
    expect(cancelled).toBeInstanceOf(TransactionCanceledException);
    expect(cancelled.message).toContain('[None, ConditionalCheckFailed]');
    expect(cancelled.CancellationReasons).toEqual([
      { Code: 'None' },
      { Code: 'ConditionalCheckFailed', Message: 'The conditional request failed', Item: held },
    ]);

    const nowhere = new PutItemCommand({ TableName: 'nowhere', Item: held });
    await expect(client.send(nowhere)).rejects.toBeInstanceOf(ResourceNotFoundException);
  });

  it('reach Step Functions, Systems Manager and EventBridge', async () => {
    calls.length = 0;
    const start = new StartExecutionCommand({ stateMachineArn: 'arn:aws:states:x', name: 'x', input: '{}' });
    await expect(new SFNClient(config()).send(start)).rejects.toBeInstanceOf(ExecutionAlreadyExists);
    const send = new SendCommandCommand({ DocumentName: 'd', InstanceIds: ['mi-0123456789abcdef0'] });
    const { Command } = await new SSMClient(config()).send(send);
    expect(Command?.RequestedDateTime).toEqual(new Date(1767225600250));
    const put = new PutEventsCommand({
      Entries: [{ Source: 's', DetailType: 't', Detail: '{}', Time: new Date(1000) }],
    });
    expect((await new EventBridgeClient(config()).send(put)).Entries).toEqual([{ EventId: 'e-1' }]);
    expect(calls).toEqual([
      ['StartExecution', { stateMachineArn: 'arn:aws:states:x', name: 'x', input: '{}' }, admin],
      ['SendCommand', { DocumentName: 'd', InstanceIds: ['mi-0123456789abcdef0'] }, admin],
      ['PutEvents', { Entries: [{ Source: 's', DetailType: 't', Detail: '{}', Time: 1 }] }, admin],
    ]);
  });
});

describe('the caller', () => {
  const send = (config: object) =>
    new DynamoDBClient(config).send(new PutItemCommand({ TableName: 'things', Item: key('p', 's') }));

  it('is known by the access key over HTTP', async () => {
    await expect(send(overHttp('READER'))).rejects.toMatchObject({
      name: 'AccessDeniedException',
      message: `User: ${reader.arn} is not authorized to perform: dynamodb:PutItem on resource: ${TABLE_ARN} because no identity-based policy allows the dynamodb:PutItem action`,
    });
    await expect(send(overHttp('NOBODY'))).rejects.toMatchObject({ name: 'UnrecognizedClientException' });
  });

  it('is the current caller in process, and otherwise the owner of the access key', async () => {
    try {
      current = reader;
      await expect(send(inProcess())).rejects.toMatchObject({ name: 'AccessDeniedException' });
      current = undefined;
      await expect(send(inProcess('NOBODY'))).rejects.toMatchObject({ name: 'UnrecognizedClientException' });
      await send(inProcess());
    } finally {
      current = admin;
    }
  });
});

describe('the in-process transport', () => {
  it('settles calls within one turn of the event loop', async () => {
    const client = new DynamoDBClient(inProcess());
    const put = (i: number) => client.send(new PutItemCommand({ TableName: 'things', Item: key('turn', `${i}`) }));
    // The first call of a process reads the shared configuration files.
    await put(0);
    let done = 0;
    for (let i = 1; i <= 20; i++) void put(i).then(() => done++);
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(20);
  });
});
