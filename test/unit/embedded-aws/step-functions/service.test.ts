import {
  DescribeExecutionCommand,
  GetExecutionHistoryCommand,
  ListExecutionsCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { beforeEach, describe, expect, it } from 'vitest';
import { AwsError, type JsonObject } from '../../../../embedded-aws/core/service.ts';
import { Kit, lambdaTask, ROLE, tokenTask } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

const waiting = { Rest: { Type: 'Wait', Seconds: 60, End: true } };
const done = { Done: { Type: 'Succeed' } };
const definitionOf = (states: JsonObject) =>
  JSON.stringify({ QueryLanguage: 'JSONata', StartAt: Object.keys(states)[0]!, States: states });
const create = (name: string, states: JsonObject, rest: JsonObject = {}) =>
  kit.call('CreateStateMachine', { name, definition: definitionOf(states), roleArn: ROLE, ...rest });

describe('state machines', () => {
  it('are described as they were created', async () => {
    const loggingConfiguration = { level: 'ALL' };
    const created = await create('m', done, { loggingConfiguration });
    expect(created).toEqual({
      stateMachineArn: 'arn:aws:states:eu-central-1:123456789012:stateMachine:m',
      creationDate: kit.clock.now() / 1_000,
    });
    expect(await kit.call('DescribeStateMachine', { stateMachineArn: created.stateMachineArn! })).toEqual({
      ...created,
      name: 'm',
      status: 'ACTIVE',
      type: 'STANDARD',
      roleArn: ROLE,
      definition: definitionOf(done),
      loggingConfiguration,
    });
  });

  it('may be created again as they are, but not otherwise', async () => {
    const created = await create('m', done);
    await kit.clock.advance(5_000);
    expect(await create('m', done)).toEqual(created);
    await expect(create('m', waiting)).rejects.toMatchObject({ code: 'StateMachineAlreadyExists' });
  });

  it('keep running executions on the definition they started with when updated', async () => {
    const stateMachineArn = String((await create('m', waiting)).stateMachineArn);
    const executionArn = await kit.start(stateMachineArn);
    await kit.clock.advance(1_000);
    const updated = await kit.call('UpdateStateMachine', { stateMachineArn, definition: definitionOf(done) });
    expect(updated.updateDate).toBe(kit.clock.now() / 1_000);
    const ofExecution = await kit.call('DescribeStateMachineForExecution', { executionArn });
    expect(ofExecution.definition).toBe(definitionOf(waiting));
    expect((await kit.call('DescribeStateMachine', { stateMachineArn })).definition).toBe(definitionOf(done));
    const next = await kit.start(stateMachineArn);
    expect((await kit.outcome(next)).status).toBe('SUCCEEDED');
    expect((await kit.outcome(executionArn)).status).toBe('RUNNING');
    await expect(kit.call('UpdateStateMachine', { stateMachineArn })).rejects.toMatchObject({
      code: 'MissingRequiredParameter',
    });
  });

  it('are deleted once their executions have ended', async () => {
    const stateMachineArn = String((await create('m', waiting)).stateMachineArn);
    const executionArn = await kit.start(stateMachineArn);
    await kit.call('DeleteStateMachine', { stateMachineArn });
    expect((await kit.call('DescribeStateMachine', { stateMachineArn })).status).toBe('DELETING');
    await expect(kit.start(stateMachineArn)).rejects.toMatchObject({ code: 'StateMachineDeleting' });
    await kit.clock.runUntilIdle();
    await expect(kit.call('DescribeStateMachine', { stateMachineArn })).rejects.toMatchObject({
      code: 'StateMachineDoesNotExist',
    });
    await expect(kit.outcome(executionArn)).rejects.toMatchObject({ code: 'ExecutionDoesNotExist' });
    expect(await kit.call('DeleteStateMachine', { stateMachineArn })).toEqual({});
  });

  it('are listed in pages', async () => {
    for (const name of ['a', 'b', 'c']) await create(name, done);
    const first = await kit.call('ListStateMachines', { maxResults: 2 });
    const second = await kit.call('ListStateMachines', { maxResults: 2, nextToken: first.nextToken! });
    expect([first, second].map(({ stateMachines }) => (stateMachines as JsonObject[]).map(({ name }) => name))).toEqual(
      [['a', 'b'], ['c']],
    );
    expect(second.nextToken).toBeUndefined();
  });

  it.each<[string, JsonObject]>([
    ['Express workflows', { type: 'EXPRESS' }],
    ['versions', { publish: true }],
  ])('do not come with %s', async (what, fields) => {
    await expect(create('m', done, fields)).rejects.toMatchObject({
      code: 'NotImplemented',
      message: expect.stringContaining(what),
    });
  });
});

describe('executions', () => {
  it('started twice under one name are one while it runs with the same input', async () => {
    const arn = await kit.machine(waiting);
    const first = await kit.call('StartExecution', { stateMachineArn: arn, name: 'x', input: '{"a":1}' });
    await kit.clock.advance(1_000);
    const again = () => kit.call('StartExecution', { stateMachineArn: arn, name: 'x', input: '{"a":1}' });
    expect(await again()).toEqual(first);
    await expect(kit.start(arn, { a: 2 }, 'x')).rejects.toMatchObject({ code: 'ExecutionAlreadyExists' });
    await kit.clock.runUntilIdle();
    await expect(again()).rejects.toMatchObject({ code: 'ExecutionAlreadyExists' });
  });

  it.each(['', 'a b', 'a:b', 'a/b', 'a"b', 'a\u0007b', 'n'.repeat(81)])('cannot be named %j', async (name) => {
    await expect(kit.start(await kit.machine(done), {}, name)).rejects.toMatchObject({ code: 'InvalidName' });
  });

  it.each<[string, JsonObject, string]>([
    ['no machine', {}, 'ValidationException'],
    ['no ARN of a machine', { stateMachineArn: 'nonsense' }, 'InvalidArn'],
    ['an unknown machine', { stateMachineArn: 'arn:aws:states:r:1:stateMachine:x' }, 'StateMachineDoesNotExist'],
  ])('need a machine: %s', async (_, input, code) => {
    await expect(kit.call('StartExecution', input)).rejects.toMatchObject({ code });
  });

  it('need JSON of at most 256 KiB as input', async () => {
    const stateMachineArn = await kit.machine(done);
    for (const input of ['{', JSON.stringify('x'.repeat(262_143))]) {
      await expect(kit.call('StartExecution', { stateMachineArn, input })).rejects.toMatchObject({
        code: 'InvalidExecutionInput',
      });
    }
  });

  it('are listed newest first, by status, in pages that do not shift', async () => {
    const stateMachineArn = await kit.machine(waiting);
    for (const name of ['a', 'b', 'c', 'd']) await kit.start(stateMachineArn, {}, name);
    await kit.call('StopExecution', {
      executionArn: stateMachineArn.replace('stateMachine', 'execution').concat(':b'),
    });
    const names = async (input: JsonObject) => {
      const answer = await kit.call('ListExecutions', { stateMachineArn, ...input });
      return { names: (answer.executions as JsonObject[]).map(({ name }) => name), nextToken: answer.nextToken };
    };
    const first = await names({ statusFilter: 'RUNNING', maxResults: 2 });
    expect(first.names).toEqual(['d', 'c']);
    await kit.start(stateMachineArn, {}, 'e');
    const rest = await names({ statusFilter: 'RUNNING', maxResults: 2, nextToken: first.nextToken! });
    expect(rest).toEqual({ names: ['a'], nextToken: undefined });
    expect((await names({ statusFilter: 'ABORTED' })).names).toEqual(['b']);
    await expect(names({ statusFilter: 'LOST' })).rejects.toMatchObject({ code: 'ValidationException' });
  });

  it('that are stopped come to rest at once and leave nothing behind', async () => {
    let token = '';
    kit.lambda((payload) => {
      token = (payload as { token: string }).token;
      return null;
    });
    const branch = (name: string, state: JsonObject) => ({ StartAt: name, States: { [name]: state } });
    const nap = { Type: 'Wait', Seconds: 500, End: true };
    const executionArn = await kit.start(
      await kit.machine({
        All: {
          Type: 'Parallel',
          Branches: [
            branch('Rest', nap),
            branch('Ask', tokenTask({ HeartbeatSeconds: 50, TimeoutSeconds: 500 })),
            branch('Each', { Type: 'Map', Items: [1, 2], ItemProcessor: branch('Nap', nap), End: true }),
          ],
          Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }],
          End: true,
        },
        Caught: { Type: 'Succeed' },
      }),
    );
    expect(kit.clock.pending).toBe(4);
    const stopped = await kit.call('StopExecution', { executionArn, error: 'Enough', cause: 'said so' });
    expect(stopped).toEqual({ stopDate: kit.clock.now() / 1_000 });
    expect(await kit.outcome(executionArn)).toMatchObject({ status: 'ABORTED', error: 'Enough', cause: 'said so' });
    expect(kit.clock.pending).toBe(0);
    const types = await kit.types(executionArn);
    expect(types.filter((type) => type.endsWith('Aborted')).sort()).toEqual([
      'ExecutionAborted',
      'MapIterationAborted',
      'MapIterationAborted',
      'MapStateAborted',
      'ParallelStateAborted',
      'TaskStateAborted',
      'WaitStateAborted',
      'WaitStateAborted',
      'WaitStateAborted',
    ]);
    expect(types.slice(-2)).toEqual(['ParallelStateAborted', 'ExecutionAborted']);
    await expect(kit.call('SendTaskHeartbeat', { taskToken: token })).rejects.toMatchObject({ code: 'TaskTimedOut' });
  });

  it('that are stopped between two attempts are not tried again', async () => {
    kit.lambda(() => Promise.reject(new Error('no')));
    const executionArn = await kit.start(
      await kit.machine({ Do: lambdaTask({ Retry: [{ ErrorEquals: ['States.ALL'], IntervalSeconds: 100 }] }) }),
    );
    await kit.call('StopExecution', { executionArn });
    await kit.clock.runUntilIdle();
    expect([kit.calls.length, kit.clock.pending, (await kit.outcome(executionArn)).status]).toEqual([1, 0, 'ABORTED']);
  });

  it('can be stopped by a function they are waiting for', async () => {
    let executionArn = '';
    kit.lambda(async () => {
      await kit.call('StopExecution', { executionArn });
      return 'stopped';
    });
    const stateMachineArn = await kit.machine({ Do: lambdaTask() });
    executionArn = String((await kit.call('StartExecution', { stateMachineArn })).executionArn);
    await kit.clock.settle();
    expect((await kit.outcome(executionArn)).status).toBe('ABORTED');
  });

  it('stay as they ended when stopped late', async () => {
    const { arn } = await kit.run(done);
    const before = await kit.call('DescribeExecution', { executionArn: arn });
    await kit.clock.advance(1_000);
    expect(await kit.call('StopExecution', { executionArn: arn })).toEqual({ stopDate: before.stopDate });
    expect(await kit.call('DescribeExecution', { executionArn: arn })).toEqual(before);
  });

  it('all end when the service is closed', async () => {
    const stateMachineArn = await kit.machine(waiting);
    const running = await Promise.all(['a', 'b'].map((name) => kit.start(stateMachineArn, {}, name)));
    await kit.service.close();
    expect(kit.clock.pending).toBe(0);
    for (const arn of running) expect((await kit.outcome(arn)).status).toBe('ABORTED');
  });

  it('announce every change of status', async () => {
    const executionArn = await kit.start(await kit.machine(waiting), { a: 1 }, 'x');
    const startDate = kit.clock.now();
    await kit.clock.runUntilIdle();
    const common = {
      version: '0',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      'detail-type': 'Step Functions Execution Status Change',
      source: 'aws.states',
      account: '123456789012',
      region: 'eu-central-1',
      resources: [executionArn],
    };
    expect(kit.events).toEqual([
      expect.objectContaining({ ...common, time: '2026-01-01T00:00:00Z' }),
      expect.objectContaining({ ...common, time: '2026-01-01T00:01:00Z' }),
    ]);
    expect(kit.events.map(({ detail }) => detail)).toEqual([
      expect.objectContaining({
        executionArn,
        name: 'x',
        status: 'RUNNING',
        startDate,
        stopDate: null,
        input: '{"a":1}',
      }),
      expect.objectContaining({ status: 'SUCCEEDED', startDate, stopDate: startDate + 60_000, output: '{"a":1}' }),
    ]);
  });
});

describe('permissions', () => {
  const machine = 'arn:aws:states:eu-central-1:123456789012:stateMachine:m';
  const execution = 'arn:aws:states:eu-central-1:123456789012:execution:m:x';

  it.each<[string, JsonObject, string[]]>([
    ['StartExecution', { stateMachineArn: machine }, [machine]],
    ['ListExecutions', { stateMachineArn: machine }, [machine]],
    ['StopExecution', { executionArn: execution }, [execution]],
    ['GetExecutionHistory', { executionArn: execution }, [execution]],
    ['ListStateMachines', {}, ['*']],
    ['CreateStateMachine', { name: 'm', roleArn: ROLE }, [machine, ROLE]],
  ])('%s is asked on %j: %j', (operation, input, resources) => {
    const permissions = kit.service.requiredPermissions(operation, input);
    expect(permissions.map(({ resource }) => resource)).toEqual(resources);
    expect(permissions.map(({ action }) => action)).toEqual(
      [`states:${operation}`, 'iam:PassRole'].slice(0, permissions.length),
    );
  });

  it.each(['RedriveExecution', 'StartSyncExecution', 'CreateActivity', 'toString'])(
    '%s is not implemented, and says so',
    async (operation) => {
      expect(() => kit.service.requiredPermissions(operation, {})).toThrow(
        `does not implement the Step Functions operation ${operation}`,
      );
      await expect(kit.call(operation, {})).rejects.toMatchObject({ code: 'NotImplemented' });
    },
  );
});

describe("the AWS SDK's own client", () => {
  const client = () =>
    new SFNClient({
      region: 'eu-central-1',
      credentials: { accessKeyId: 'a', secretAccessKey: 's' },
      maxAttempts: 1,
      requestHandler: {
        handle: async (request: { headers: Record<string, string>; body: Uint8Array }) => {
          const operation = request.headers['x-amz-target']!.split('.')[1]!;
          const respond = (statusCode: number, body: JsonObject) => ({
            response: {
              statusCode,
              headers: { 'content-type': 'application/x-amz-json-1.0' },
              body: new TextEncoder().encode(JSON.stringify(body)),
            },
          });
          try {
            return respond(200, await kit.call(operation, JSON.parse(new TextDecoder().decode(request.body))));
          } catch (error) {
            if (!(error instanceof AwsError)) throw error;
            return respond(error.status, { __type: error.code, message: error.message });
          }
        },
      } as never,
    });

  it('reads dates, statuses, histories and errors', async () => {
    const stateMachineArn = await kit.machine(waiting);
    const sfn = client();
    const { executionArn, startDate } = await sfn.send(new StartExecutionCommand({ stateMachineArn, name: 'x' }));
    expect(startDate).toEqual(new Date('2026-01-01T00:00:00Z'));
    await kit.clock.runUntilIdle();
    expect(await sfn.send(new DescribeExecutionCommand({ executionArn }))).toMatchObject({
      status: 'SUCCEEDED',
      stopDate: new Date('2026-01-01T00:01:00Z'),
      output: '{}',
    });
    const { executions } = await sfn.send(new ListExecutionsCommand({ stateMachineArn }));
    expect(executions).toMatchObject([{ name: 'x', stopDate: new Date('2026-01-01T00:01:00Z') }]);
    const { events } = await sfn.send(new GetExecutionHistoryCommand({ executionArn }));
    expect(events!.at(-1)).toMatchObject({
      type: 'ExecutionSucceeded',
      timestamp: new Date('2026-01-01T00:01:00Z'),
      executionSucceededEventDetails: { output: '{}' },
    });
    await expect(sfn.send(new StartExecutionCommand({ stateMachineArn, name: 'x' }))).rejects.toMatchObject({
      name: 'ExecutionAlreadyExists',
    });
  });
});
