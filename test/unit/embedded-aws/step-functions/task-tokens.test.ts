import { beforeEach, describe, expect, it } from 'vitest';
import { failure, Kit, tokenTask } from './kit.ts';

let kit: Kit;
let tokens: string[];
beforeEach(() => {
  kit = new Kit();
  tokens = [];
  kit.lambda((payload) => {
    tokens.push((payload as { token: string }).token);
    return 'noted';
  });
});

const start = async (fields = {}) => kit.start(await kit.machine({ Ask: tokenTask(fields) }));
const succeed = (taskToken: string, output = '{"ok":true}') => kit.call('SendTaskSuccess', { taskToken, output });
const heartbeat = (taskToken: string) => kit.call('SendTaskHeartbeat', { taskToken });

describe('a task that waits for its token', () => {
  it('continues with the output of SendTaskSuccess', async () => {
    const arn = await start({ Output: '{% $states.result.ok %}' });
    expect((await kit.outcome(arn)).status).toBe('RUNNING');
    expect(await succeed(tokens[0]!)).toEqual({});
    await kit.clock.settle();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'SUCCEEDED', output: true });
  });

  it('fails with the error and cause of SendTaskFailure', async () => {
    const arn = await start();
    await kit.call('SendTaskFailure', { taskToken: tokens[0]!, error: 'Gone', cause: 'no such host' });
    await kit.clock.settle();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'FAILED', error: 'Gone', cause: 'no such host' });
  });

  it('ends with the answer even when the request that carried the token has not returned yet', async () => {
    kit.lambda(async (payload) => {
      await succeed((payload as { token: string }).token);
      await kit.clock.sleep(5_000);
      throw failure('TooLate');
    });
    const outcome = await kit.run({ Ask: tokenTask() });
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: { ok: true } });
  });

  it('fails with the request that should have carried the token, and the token dies', async () => {
    kit.lambda((payload) => {
      tokens.push((payload as { token: string }).token);
      throw failure('Refused');
    });
    const arn = await start();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'FAILED', error: 'Refused' });
    await expect(succeed(tokens[0]!)).rejects.toMatchObject({ code: 'TaskTimedOut' });
  });

  it('lives on as long as heartbeats come in time', async () => {
    const arn = await start({ HeartbeatSeconds: 10, TimeoutSeconds: 100 });
    for (let beat = 0; beat < 5; beat++) {
      await kit.clock.advance(9_000);
      await heartbeat(tokens[0]!);
    }
    expect((await kit.outcome(arn)).status).toBe('RUNNING');
    await kit.clock.runUntilIdle();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'FAILED', error: 'States.HeartbeatTimeout' });
    expect(kit.elapsed()).toBe(55);
    await expect(heartbeat(tokens[0]!)).rejects.toMatchObject({ code: 'TaskTimedOut' });
  });

  it('is ended by TimeoutSeconds in spite of heartbeats', async () => {
    const arn = await start({ HeartbeatSeconds: 10, TimeoutSeconds: 25 });
    for (let beat = 0; beat < 3; beat++) {
      await kit.clock.advance(8_000);
      await heartbeat(tokens[0]!);
    }
    await kit.clock.runUntilIdle();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'FAILED', error: 'States.Timeout' });
    expect(kit.elapsed()).toBe(25);
  });
});

describe('an answer to a token', () => {
  it('counts once', async () => {
    await start();
    await succeed(tokens[0]!);
    await expect(succeed(tokens[0]!)).rejects.toMatchObject({
      code: 'TaskTimedOut',
      message: "Task Timed Out: 'Provided task does not exist anymore'",
    });
  });

  it('must be JSON of at most 256 KiB; a wrong one leaves the task waiting', async () => {
    const arn = await start();
    await expect(succeed(tokens[0]!, '{nonsense')).rejects.toMatchObject({ code: 'InvalidOutput' });
    await expect(succeed(tokens[0]!, JSON.stringify('x'.repeat(262_143)))).rejects.toMatchObject({
      code: 'InvalidOutput',
    });
    await succeed(tokens[0]!);
    await kit.clock.settle();
    expect((await kit.outcome(arn)).status).toBe('SUCCEEDED');
  });

  it.each(['', 'nonsense', Buffer.from('["arn:aws:s3:::x"]').toString('base64')])(
    'needs a token: %j is none',
    async (taskToken) => {
      await expect(heartbeat(taskToken)).rejects.toMatchObject({ code: 'InvalidToken' });
    },
  );

  it('finds no task when the execution is gone with its machine', async () => {
    const stateMachineArn = await kit.machine({ Ask: tokenTask() });
    const executionArn = await kit.start(stateMachineArn);
    await kit.call('StopExecution', { executionArn });
    await expect(heartbeat(tokens[0]!)).rejects.toMatchObject({ code: 'TaskTimedOut' });
    await kit.call('DeleteStateMachine', { stateMachineArn });
    await expect(heartbeat(tokens[0]!)).rejects.toMatchObject({ code: 'TaskDoesNotExist' });
  });

  it("asks for permission on the machine's ARN, which is what roles are granted", async () => {
    const stateMachineArn = await kit.machine({ Ask: tokenTask() });
    await kit.start(stateMachineArn);
    expect(kit.service.requiredPermissions('SendTaskSuccess', { taskToken: tokens[0]!, output: '1' })).toEqual([
      { action: 'states:SendTaskSuccess', resource: stateMachineArn },
    ]);
    expect(kit.service.requiredPermissions('SendTaskHeartbeat', { taskToken: 'nonsense' })).toEqual([
      { action: 'states:SendTaskHeartbeat', resource: '*' },
    ]);
  });
});
