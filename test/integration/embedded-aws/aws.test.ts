import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DynamoDBClient, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import {
  CreateStateMachineCommand,
  DescribeExecutionCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AwsError } from '../../../embedded-aws/core/service.ts';
import { type EmbeddedAws, type EmbeddedAwsOptions, startEmbeddedAws } from '../../../embedded-aws/embedded-aws.ts';
import type { NodeStep } from '../../../embedded-aws/ssm/node.ts';
import { VirtualClock } from '../../../simulator/virtual-clock.ts';
import { synthesizeOrders } from './orders-stack.ts';

const NODE = 'mi-0123456789abcdef0';

let folder: string;
let assembly: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'embedded-aws-'));
  assembly = synthesizeOrders(folder);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('the embedded AWS', () => {
  const running: EmbeddedAws[] = [];
  afterEach(async () => {
    for (const aws of running.splice(0)) await aws.stop();
  });

  async function start(options: Partial<EmbeddedAwsOptions> = {}) {
    const clock = new VirtualClock();
    const reports: string[] = [];
    const report = (message: string) => void reports.push(message);
    const aws = await startEmbeddedAws({ assembly, clock, listen: false, report, ...options });
    running.push(aws);
    return { aws, clock, reports };
  }

  /** A node that reports on every request, as its own role, in the partition that is its own unless told otherwise. */
  function registerNode(aws: EmbeddedAws, { exitCode = 0, partition = '' } = {}) {
    const steps: NodeStep[] = [];
    const errors: unknown[] = [];
    const { credentials, mailboxUserId } = aws.registerNode(NODE, {
      async run(step) {
        steps.push(step);
        const report = new UpdateItemCommand({
          TableName: aws.outputs.TableName,
          Key: { pk: { S: partition || mailboxUserId }, sk: { S: `REPORT#${step.env.SSM_requestId}` } },
          UpdateExpression: 'SET #result = :result',
          ExpressionAttributeNames: { '#result': 'result' },
          ExpressionAttributeValues: { ':result': { S: '{"done":true}' } },
        });
        if (exitCode === 0) await dynamodb.send(report).catch((error: unknown) => errors.push(error));
        return { exitCode, stdout: '', stderr: '' };
      },
    });
    const dynamodb = new DynamoDBClient(aws.inProcess(credentials));
    return { steps, errors };
  }

  const request = (aws: EmbeddedAws, method: string, path: string, body?: string, accessKeyId = 'local') => {
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20260101/us-east-1/execute-api/aws4_request`;
    const headers = { authorization, 'content-type': 'application/json' };
    return aws.inProcess().requestHandler.handle({ method, path, headers, body });
  };
  const order = (aws: EmbeddedAws, id: string) => request(aws, 'POST', `/orders/${id}`, JSON.stringify({ node: NODE }));
  const execution = (aws: EmbeddedAws, id: string) =>
    new SFNClient(aws.inProcess()).send(
      new DescribeExecutionCommand({
        executionArn: `${aws.outputs.MachineArn?.replace('stateMachine', 'execution')}:${id}`,
      }),
    );

  it('carries an order from the API through state machine, function, node, stream and function back', async () => {
    const { aws, clock, reports } = await start();
    const { steps } = registerNode(aws);

    const { response } = await order(aws, 'first');
    await clock.settle();
    await clock.advance(1_000);

    expect(response.statusCode).toBe(202);
    expect(steps).toMatchObject([{ script: `work ${aws.outputs.TableName}`, env: { SSM_requestId: 'first' } }]);
    expect(await execution(aws, 'first')).toMatchObject({ status: 'SUCCEEDED', output: '{"done":true}' });
    const ended = Object.entries(aws.queues()).find(([name]) => name.startsWith('Orders-Ended'))?.[1];
    expect(ended?.map(({ body }) => JSON.parse(body).detail.name)).toEqual(['first']);
    expect(reports).toEqual([]);
  });

  it("lets a rule watch SSM's events", async () => {
    const { aws, clock } = await start();
    registerNode(aws, { exitCode: 1 });
    await order(aws, 'second');
    await clock.advance(1_000);
    expect(await execution(aws, 'second')).toMatchObject({ status: 'FAILED', error: 'CommandFailed', cause: 'Failed' });
  });

  it('starts machines from events', async () => {
    const { aws, clock } = await start();
    const { steps } = registerNode(aws);
    aws.putEvent({ source: 'orders', detailType: 'Asked', detail: {} });
    await clock.advance(1_000);
    // The whole event is the input, and it names no node: the machine fails, but it was started.
    expect(steps).toEqual([]);
    const machine = { stateMachineArn: String(aws.outputs.MachineArn) };
    const { executions } = await aws.callAws('states', 'ListExecutions', machine, aws.adminCaller);
    expect(executions).toMatchObject([{ status: 'FAILED' }]);
  });

  it('keeps a node to its own partition, and gives poisonous reports to the dead-letter queue', async () => {
    const { aws, clock } = await start();
    const { errors } = registerNode(aws, { partition: 'AROAOTHER:mi-fffffffffffffffff' });
    await order(aws, 'third');
    await clock.advance(1_000);
    expect(errors).toMatchObject([{ name: 'AccessDeniedException' }]);
    expect((await execution(aws, 'third')).status).toBe('RUNNING');

    const Item = { pk: { S: 'nobody' }, sk: { S: 'REPORT#x' } };
    await aws.callAws('dynamodb', 'PutItem', { TableName: String(aws.outputs.TableName), Item }, aws.adminCaller);
    await clock.advance(1_000);
    const dead = Object.entries(aws.queues()).find(([name]) => name.startsWith('Orders-DeadReports'))?.[1];
    expect(dead).toHaveLength(1);
    expect(JSON.parse(dead?.[0]?.body ?? '')).toMatchObject({
      requestContext: { condition: 'RetryAttemptsExhausted' },
    });
  });

  it("refuses a function what its role's policies do not allow", async () => {
    const { aws } = await start();
    const functions = JSON.parse(readFileSync(join(assembly, 'Orders.template.json'), 'utf8')).Resources as object;
    const name = Object.keys(functions).find((id) => /^Intruder(?!ServiceRole)/.test(id));
    const answer = await aws.callAws('lambda', 'Invoke', { FunctionName: `Orders-${name}` }, aws.adminCaller);
    expect(JSON.parse(String(answer.Payload))).toMatchObject({ errorType: 'AccessDeniedException' });
  });

  it('runs any JSONata machine a user brings, with a role of his own', async () => {
    const { aws, clock } = await start();
    const states = new SFNClient(aws.inProcess());
    const { stateMachineArn } = await states.send(
      new CreateStateMachineCommand({
        name: 'mine',
        roleArn: 'arn:aws:iam::000000000000:role/mine',
        definition: JSON.stringify({
          QueryLanguage: 'JSONata',
          StartAt: 'List',
          States: {
            List: {
              Type: 'Task',
              Resource: 'arn:aws:states:::aws-sdk:dynamodb:listTables',
              Output: '{% $states.result.TableNames %}',
              End: true,
            },
          },
        }),
      }),
    );
    const { executionArn } = await states.send(new StartExecutionCommand({ stateMachineArn }));
    await clock.runUntilIdle();
    const { status, output } = await states.send(new DescribeExecutionCommand({ executionArn }));
    expect([status, JSON.parse(output ?? '')]).toEqual(['SUCCEEDED', [aws.outputs.TableName]]);
  });

  it('knows callers by their access keys', async () => {
    const { aws } = await start();
    registerNode(aws);
    const statusFor = async (key: string) =>
      (await request(aws, 'GET', '/orders/none', undefined, key)).response.statusCode;
    expect(await statusFor('local')).toBe(200);
    expect(await statusFor(NODE)).toBe(403);
    expect(await statusFor('stranger')).toBe(403);
  });

  it('lets an interceptor fail calls, as clients see it', async () => {
    const { aws, clock } = await start();
    const { errors } = registerNode(aws);
    aws.intercept(async ({ service, operation, caller }, next) => {
      if (service !== 'dynamodb' || !caller.userId.endsWith(NODE)) return next();
      throw new AwsError('ProvisionedThroughputExceededException', `no ${operation} now`);
    });
    await order(aws, 'fourth');
    await clock.advance(1_000);
    expect(errors).toMatchObject([{ name: 'ProvisionedThroughputExceededException', message: 'no UpdateItem now' }]);
    aws.intercept(undefined);
    await order(aws, 'fifth');
    await clock.advance(1_000);
    expect((await execution(aws, 'fifth')).status).toBe('SUCCEEDED');
  });

  it('keeps two of its kind in one process apart', async () => {
    const [one, two] = [await start(), await start()];
    registerNode(one.aws);
    registerNode(two.aws, { exitCode: 1 });
    await Promise.all([order(one.aws, 'same'), order(two.aws, 'same')]);
    await one.clock.advance(1_000);
    await two.clock.advance(1_000);
    expect((await execution(one.aws, 'same')).status).toBe('SUCCEEDED');
    expect((await execution(two.aws, 'same')).status).toBe('FAILED');
  });

  it('listens, and names its address in the outputs', async () => {
    const { aws } = await start({ listen: { hosts: ['127.0.0.1'], port: 0 } });
    expect(aws.outputs.ApiUrl).toBe(aws.endpoint);
    expect(aws.apiUrl).toBe(aws.endpoint);
    expect((await fetch(`${aws.apiUrl}/orders/none`)).status).toBe(403);
    await running.pop()?.stop();
    await expect(fetch(`${aws.apiUrl}/orders/none`)).rejects.toThrow();
  });

  it('leaves no timer behind when it stops in the middle of things', async () => {
    const { aws, clock } = await start();
    registerNode(aws);
    aws.setNodeOnline(NODE, false);
    await order(aws, 'last');
    await clock.settle();
    expect(clock.pending).toBeGreaterThan(0);
    await aws.stop();
    await clock.settle();
    expect(clock.pending).toBe(0);
  });

  it('fails by name on a resource it does not implement', async () => {
    const other = join(folder, 'other.out');
    cpSync(assembly, other, { recursive: true });
    const file = join(other, 'Orders.template.json');
    const template = JSON.parse(readFileSync(file, 'utf8'));
    template.Resources.Bucket = { Type: 'AWS::S3::Bucket' };
    writeFileSync(file, JSON.stringify(template));
    await expect(start({ assembly: other, listen: { hosts: ['127.0.0.1'], port: 0 } })).rejects.toThrow(
      'The embedded AWS does not implement AWS::S3::Bucket (resource Bucket).',
    );
  });
});
