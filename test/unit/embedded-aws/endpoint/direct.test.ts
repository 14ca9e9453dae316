import { DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  DescribeExecutionCommand,
  SendTaskFailureCommand,
  SendTaskHeartbeatCommand,
  SendTaskSuccessCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import {
  BatchGetCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  ScanCommand,
  TransactWriteCommand,
  UpdateCommand,
} from '@aws-sdk/lib-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AwsError, type Json, type JsonObject, type Service } from '../../../../embedded-aws/core/service.ts';
import { answerDirectly } from '../../../../embedded-aws/endpoint/direct.ts';
import { fromAttribute, toAttribute } from '../../../../embedded-aws/endpoint/documents.ts';
import { inProcessTransport } from '../../../../embedded-aws/endpoint/in-process.ts';
import { createWire } from '../../../../embedded-aws/endpoint/wire.ts';
import { authorizedCalls } from '../../../../embedded-aws/iam/call.ts';
import { ACCOUNT, admin, fixture, REGION } from '../dynamodb/fixture.ts';

interface Outcome {
  answer?: object;
  error?: unknown;
  /** What reached the services. */
  calls: [string, JsonObject][];
  /** Whether the request went over the wire. */
  wired: boolean;
}

/** One place in which the same calls can be made, over the wire or directly. */
function place(direct: boolean) {
  const calls: Outcome['calls'] = [];
  let wired = false;
  const recorded = (service: Service): Service => ({
    requiredPermissions: (operation, input) => service.requiredPermissions(operation, input),
    call(operation, input, caller) {
      const { ClientRequestToken: _, ...rest } = structuredClone(input);
      calls.push([operation, rest]);
      return service.call(operation, input, caller);
    },
  });
  const answering = (answers: Record<string, JsonObject | AwsError>): Service => ({
    requiredPermissions: (operation) => [{ action: `any:${operation}`, resource: '*' }],
    async call(operation) {
      const answer = answers[operation]!;
      if (answer instanceof AwsError) throw answer;
      return answer;
    },
  });
  const call = authorizedCalls({
    dynamodb: recorded(fixture().db),
    states: recorded(
      answering({
        StartExecution: { executionArn: 'arn:x', startDate: 1767225600.25 },
        DescribeExecution: { executionArn: 'arn:x', status: 'RUNNING', startDate: 1767225600.25, input: '{}' },
        SendTaskSuccess: {},
        SendTaskHeartbeat: new AwsError('TaskTimedOut', 'Task Timed Out'),
        SendTaskFailure: new AwsError('ThrottlingException', 'Rate exceeded'),
      }),
    ),
    ssm: recorded(answering({ SendCommand: { Command: { CommandId: 'c-1', RequestedDateTime: 1767225600.25 } } })),
    events: recorded(answering({ PutEvents: { FailedEntryCount: 0, Entries: [{ EventId: 'e-1' }] } })),
  });
  const httpApi = async () => ({ status: 404, headers: {}, body: '' });
  const wire = createWire({ account: ACCOUNT, call, callerForAccessKey: () => admin, httpApi });
  const made = <C>(client: C): C => {
    if (direct) answerDirectly(client, () => ({ call, caller: admin }));
    return client;
  };
  const config = {
    region: REGION,
    requestHandler: inProcessTransport(
      (...request) => {
        wired = true;
        return wire(...request);
      },
      () => admin,
    ),
    credentials: { accessKeyId: 'local', secretAccessKey: 'any' },
    maxAttempts: 1,
  };
  const low = made(new DynamoDBClient(config));
  const clients = {
    dynamo: made(
      DynamoDBDocumentClient.from(new DynamoDBClient(config), { marshallOptions: { removeUndefinedValues: true } }),
    ),
    low,
    sfn: made(new SFNClient(config)),
    ssm: made(new SSMClient(config)),
    events: made(new EventBridgeClient(config)),
  };
  return async (act: (all: typeof clients) => Promise<unknown>): Promise<Outcome> => {
    calls.length = 0;
    wired = false;
    const outcome = await act(clients).then(
      (answer) => {
        const { $metadata, ...rest } = answer as { $metadata: { httpStatusCode: number } };
        expect($metadata.httpStatusCode).toBe(200);
        return { answer: rest };
      },
      (error: unknown) => ({ error }),
    );
    return { ...outcome, calls: structuredClone(calls), wired };
  };
}

const TableName = 'things';
const Key = { pk: 'a', sk: '1' };
const Item = {
  ...Key,
  status: 'open',
  rank: 12.5,
  ok: false,
  nothing: null,
  empty: '',
  none: undefined,
  tags: new Set(['x', 'y']),
  deep: [{ a: [1, -2, 0.125], none: undefined }, {}],
};
type Act = (clients: Parameters<Parameters<ReturnType<typeof place>>[0]>[0]) => Promise<unknown>;

const put: Act = ({ dynamo }) => dynamo.send(new PutCommand({ TableName, Item, ConditionExpression: undefined }));
const putAgain = new PutCommand({
  TableName,
  Item: { ...Item, rank: 1 },
  ConditionExpression: 'attribute_not_exists(pk)',
  ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
});
const raise = new UpdateCommand({
  TableName,
  Key,
  UpdateExpression: 'SET #rank = #rank + :one, #deep[1] = :now REMOVE #none ADD tags :tag',
  ConditionExpression: '#rank BETWEEN :one AND :most',
  ExpressionAttributeNames: { '#rank': 'rank', '#deep': 'deep', '#none': 'nothing' },
  ExpressionAttributeValues: { ':one': 1, ':most': 99, ':now': { at: 'noon' }, ':tag': new Set(['z']) },
  ReturnValues: 'ALL_NEW',
});

/** What the product does, and what the direct way leaves to the wire. */
const ACTS: Record<string, Act[]> = {
  'a document, written and read': [
    put,
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName, Key, ConsistentRead: true })),
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName, Key: { pk: 'a', sk: 'none' } })),
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName, Key, ProjectionExpression: 'deep[0].a, tags' })),
  ],
  'a refused write, the first time and again': [
    put,
    ({ dynamo }) => dynamo.send(putAgain),
    ({ dynamo }) => dynamo.send(putAgain),
  ],
  updates: [
    put,
    ({ dynamo }) => dynamo.send(raise),
    ({ dynamo }) => dynamo.send(raise),
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName, Key })),
  ],
  queries: [
    put,
    ({ dynamo }) =>
      dynamo.send(
        new QueryCommand({
          TableName,
          KeyConditionExpression: 'pk = :p AND begins_with(sk, :s)',
          FilterExpression: '#rank > :r',
          ExpressionAttributeNames: { '#rank': 'rank' },
          ExpressionAttributeValues: { ':p': 'a', ':s': '1', ':r': 3 },
          ScanIndexForward: false,
          Limit: 1,
        }),
      ),
    ({ dynamo }) =>
      dynamo.send(
        new QueryCommand({
          TableName,
          IndexName: 'byStatus',
          KeyConditionExpression: '#s = :open',
          ExpressionAttributeNames: { '#s': 'status' },
          ExpressionAttributeValues: { ':open': 'open' },
        }),
      ),
  ],
  'several at once': [
    put,
    ({ dynamo }) =>
      dynamo.send(
        new BatchGetCommand({ RequestItems: { things: { Keys: [Key, { pk: 'b', sk: '1' }], ConsistentRead: true } } }),
      ),
    ({ dynamo }) =>
      dynamo.send(
        new TransactWriteCommand({
          TransactItems: [
            { Put: { TableName, Item: { pk: 'b', sk: '1', n: 1 } } },
            {
              Update: { TableName, Key, UpdateExpression: 'SET ok = :ok', ExpressionAttributeValues: { ':ok': true } },
            },
          ],
        }),
      ),
    ({ dynamo }) =>
      dynamo.send(
        new TransactWriteCommand({
          TransactItems: [
            { Delete: { TableName, Key } },
            { Put: { TableName, Item: { pk: 'b', sk: '1' }, ConditionExpression: 'attribute_not_exists(pk)' } },
          ],
        }),
      ),
    ({ dynamo }) =>
      dynamo.send(new BatchGetCommand({ RequestItems: { things: { Keys: [Key, { pk: 'b', sk: '1' }] } } })),
  ],
  'a deletion': [
    put,
    ({ dynamo }) => dynamo.send(new DeleteCommand({ TableName, Key, ReturnValues: 'ALL_OLD' })),
    ({ dynamo }) => dynamo.send(new DeleteCommand({ TableName, Key, ConditionExpression: 'attribute_exists(pk)' })),
  ],
  'what is not valid': [
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName, Key: { pk: '', sk: '1' } })),
    ({ dynamo }) => dynamo.send(new GetCommand({ TableName: 'nowhere', Key })),
    ({ dynamo }) => dynamo.send(new PutCommand({ TableName, Item: { ...Key, status: 7 } })),
  ],
  executions: [
    ({ sfn }) => sfn.send(new StartExecutionCommand({ stateMachineArn: 'arn:m', name: 'x', input: '{}' })),
    ({ sfn }) => sfn.send(new DescribeExecutionCommand({ executionArn: 'arn:x' })),
  ],
  'task tokens': [
    ({ sfn }) => sfn.send(new SendTaskSuccessCommand({ taskToken: 't', output: '{}' })),
    ({ sfn }) => sfn.send(new SendTaskHeartbeatCommand({ taskToken: 't' })),
    ({ sfn }) => sfn.send(new SendTaskHeartbeatCommand({ taskToken: 't' })),
    ({ sfn }) => sfn.send(new SendTaskFailureCommand({ taskToken: 't', error: 'E', cause: undefined })),
    ({ sfn }) => sfn.send(new SendTaskFailureCommand({ taskToken: 't', error: 'E' })),
  ],
  'commands and events': [
    ({ ssm }) =>
      ssm.send(new SendCommandCommand({ DocumentName: 'd', InstanceIds: ['mi-1'], Parameters: { requestId: ['r'] } })),
    ({ events }) => events.send(new PutEventsCommand({ Entries: [{ Source: 's', DetailType: 't', Detail: '{}' }] })),
  ],
};

const BY_WIRE: Record<string, Act> = {
  'bytes in a document': ({ dynamo }) =>
    dynamo.send(new PutCommand({ TableName, Item: { ...Key, bytes: new Uint8Array([1, 255]) } })),
  'a set of numbers': ({ dynamo }) => dynamo.send(new PutCommand({ TableName, Item: { ...Key, set: new Set([1]) } })),
  'a date': ({ events }) =>
    events.send(new PutEventsCommand({ Entries: [{ Source: 's', DetailType: 't', Detail: '{}', Time: new Date(0) }] })),
  'an operation the product does not use': ({ dynamo }) => dynamo.send(new ScanCommand({ TableName })),
  'the low-level client': ({ low }) => low.send(new PutItemCommand({ TableName, Item: marshall(Key) })),
};

function sameError(direct: unknown, wire: unknown): void {
  if (wire === undefined) {
    expect(direct).toBeUndefined();
    return;
  }
  const members = (error: unknown) => {
    const { name, message, $fault, Item: item, CancellationReasons: reasons } = error as Record<string, unknown>;
    return { name, message, $fault, item, reasons };
  };
  expect(members(direct)).toEqual(members(wire));
  expect((direct as Error).constructor).toBe((wire as Error).constructor);
}

describe('SDK clients answered directly', () => {
  it.each(Object.entries(ACTS))('give what they give over the wire: %s', async (_, acts) => {
    const [overTheWire, directly] = [place(false), place(true)];
    for (const act of acts) {
      const [wire, direct] = [await overTheWire(act), await directly(act)];
      expect(direct.calls).toEqual(wire.calls);
      expect(direct.answer).toEqual(wire.answer);
      sameError(direct.error, wire.error);
      expect([wire.wired, direct.wired]).toEqual([true, false]);
    }
  });

  it.each(Object.entries(BY_WIRE))('take the wire for all else: %s', async (_, act) => {
    const [overTheWire, directly] = [await place(false)(act), await place(true)(act)];
    expect(directly).toEqual(overTheWire);
    expect(directly.wired).toBe(true);
  });

  it('give the errors of the service after one whose call was aborted', async () => {
    const [overTheWire, directly] = [place(false), place(true)];
    await directly(put);
    const abort = new AbortController();
    const aborted = await directly(({ dynamo }) => {
      const sent = dynamo.send(putAgain, { abortSignal: abort.signal });
      abort.abort();
      return sent;
    });
    expect(aborted.error).toMatchObject({ name: 'AbortError' });
    await overTheWire(put);
    const again: Act = ({ dynamo }) => dynamo.send(putAgain);
    sameError((await directly(again)).error, (await overTheWire(again)).error);
  });

  it('work as ever while there is no route', async () => {
    const wire = createWire({
      account: ACCOUNT,
      call: authorizedCalls({ dynamodb: fixture().db }),
      callerForAccessKey: () => admin,
      httpApi: async () => ({ status: 404, headers: {}, body: '' }),
    });
    const requestHandler = inProcessTransport(wire, () => admin);
    const client = DynamoDBDocumentClient.from(
      new DynamoDBClient({ region: REGION, requestHandler, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }),
    );
    answerDirectly(client, () => undefined);
    await client.send(new PutCommand({ TableName, Item: Key }));
    expect((await client.send(new GetCommand({ TableName, Key }))).Item).toEqual(Key);
  });
});

describe('attribute values', () => {
  const document = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.string(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value')),
      fc.dictionary(fc.string(), tie('value'), { noNullPrototype: true }),
    ),
  })).value;

  it("are those of the SDK's own marshaller, both ways", () => {
    fc.assert(
      fc.property(document, (value) => {
        const [{ v: theirs }, ours] = [marshall({ v: value }), toAttribute(value)];
        expect(ours).toEqual(theirs);
        expect(fromAttribute(ours)).toEqual(unmarshall({ v: theirs! }).v);
      }),
    );
  });
});
