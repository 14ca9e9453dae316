import { beforeEach, describe, expect, it } from 'vitest';
import type { Caller, JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { BusEvent } from '../../../../embedded-aws/events/event-bridge.ts';
import type { NodeOutput, NodeStep } from '../../../../embedded-aws/ssm/node.ts';
import { createSsm, type Ssm } from '../../../../embedded-aws/ssm/ssm.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const caller: Caller = { arn: 'arn:me', userId: 'me', statements: [] };
const NODE = 'mi-0123456789abcdef0';

const document = (step: JsonObject = {}, parameters: JsonObject = {}): JsonObject => ({
  schemaVersion: '2.2',
  parameters: {
    requestId: { type: 'String', interpolationType: 'ENV_VAR', allowedPattern: '^[a-z0-9.]+$' },
    ...parameters,
  },
  mainSteps: [
    {
      action: 'aws:runShellScript',
      name: 'run',
      inputs: { timeoutSeconds: '120', runCommand: ['set -e', 'agent "$SSM_requestId"'] },
      ...step,
    },
  ],
});

describe('SSM', () => {
  let clock: VirtualClock;
  let stop: AbortController;
  let ssm: Ssm;
  let events: BusEvent[];
  let steps: (NodeStep & { signal: AbortSignal })[];
  /** How the node runs a script. */
  let script: (signal: AbortSignal) => Promise<NodeOutput>;

  beforeEach(() => {
    clock = new VirtualClock();
    stop = new AbortController();
    events = [];
    steps = [];
    script = async () => ({ exitCode: 0, stdout: 'out', stderr: 'err' });
    let ids = 0;
    ssm = createSsm({
      clock,
      uuid: () => `command-${++ids}`,
      region: 'eu-north-1',
      account: '111122223333',
      emit: (event) => events.push(event),
      signal: stop.signal,
    });
    ssm.putDocument('RunStage', document());
    ssm.registerNode(NODE, {
      async run(step, signal) {
        steps.push({ ...step, signal });
        return script(signal);
      },
    });
  });

  const call = (operation: string, input: JsonObject) => ssm.call(operation, input, caller);
  const send = async (input: JsonObject = {}) => {
    const defaults = { DocumentName: 'RunStage', InstanceIds: [NODE], Parameters: { requestId: ['a.1'] } };
    return (await call('SendCommand', { ...defaults, ...input })).Command as JsonObject;
  };
  const result = (CommandId = 'command-1') => call('GetCommandInvocation', { CommandId, InstanceId: NODE });
  const lasting = (ms: number) => async (signal: AbortSignal) => {
    await clock.sleep(ms, signal);
    return { exitCode: 0, stdout: '', stderr: '' };
  };
  const statuses = () =>
    events.filter(({ detailType }) => detailType.includes('Invocation')).map(({ detail }) => detail.status);

  it("runs the document's script on the node, the parameter in the environment only", async () => {
    expect(await send()).toMatchObject({ CommandId: 'command-1', InstanceIds: [NODE], TimeoutSeconds: 3600 });
    await clock.settle();
    expect(steps).toMatchObject([
      {
        script: 'set -e\nagent "$SSM_requestId"',
        timeoutSeconds: 120,
        env: {
          SSM_requestId: 'a.1',
          AWS_SSM_INSTANCE_ID: NODE,
          AWS_SSM_REGION_NAME: 'eu-north-1',
          SSM_COMMAND_ID: 'command-1',
        },
      },
    ]);
    expect(await result()).toMatchObject({
      Status: 'Success',
      ResponseCode: 0,
      StandardOutputContent: 'out',
      StandardErrorContent: 'err',
    });
    expect(clock.pending).toBe(0);
  });

  it('pastes other parameters into the text', async () => {
    const inputs = { runCommand: ['echo {{ word }} {{word}}'], timeoutSeconds: '{{ patience }}' };
    ssm.putDocument(
      'Echo',
      document({ inputs }, { word: { type: 'String', default: '$&' }, patience: { type: 'String' } }),
    );
    await send({ DocumentName: 'Echo', Parameters: { requestId: ['a'], patience: ['30'] } });
    await clock.settle();
    expect(steps[0]).toMatchObject({ script: 'echo $& $&', timeoutSeconds: 30 });
  });

  it.each([['4'], ['172801'], ['soon'], ['']])('makes 3600 s of the execution timeout "%s"', async (timeoutSeconds) => {
    ssm.putDocument('Odd', document({ inputs: { runCommand: ['true'], timeoutSeconds } }));
    await send({ DocumentName: 'Odd' });
    await clock.settle();
    expect(steps[0]?.timeoutSeconds).toBe(3600);
  });

  it.each<[JsonObject, string]>([
    [{ DocumentName: 'None' }, 'InvalidDocument'],
    [{ InstanceIds: ['mi-fffffffffffffffff'] }, 'InvalidInstanceId'],
    [{ InstanceIds: [NODE, NODE] }, 'DuplicateInstanceId'],
    [{ InstanceIds: [] }, 'ValidationException'],
    [{ TimeoutSeconds: 29 }, 'ValidationException'],
    [{ Parameters: {} }, 'InvalidParameters'],
    [{ Parameters: { requestId: ['a; rm -rf /'] } }, 'InvalidParameters'],
    [{ Parameters: { requestId: ['a', 'b'] } }, 'InvalidParameters'],
    [{ Parameters: { requestId: ['a'], other: ['b'] } }, 'InvalidParameters'],
    [{ Targets: [] }, 'NotImplemented'],
  ])('refuses %j with %s, and runs nothing', async (input, code) => {
    await expect(send(input)).rejects.toMatchObject({ code });
    await clock.settle();
    expect(steps).toEqual([]);
    expect(events).toEqual([]);
  });

  it('checks allowed values and lengths', async () => {
    const parameters = {
      mode: { type: 'String', allowedValues: ['fast', 'slow'], default: 'fast' },
      name: { type: 'String', maxChars: 3 },
    };
    ssm.putDocument('Checked', document({}, parameters));
    const sendWith = (values: JsonObject) =>
      send({ DocumentName: 'Checked', Parameters: { requestId: ['a'], name: ['x'], ...values } });
    await expect(sendWith({})).resolves.toMatchObject({ Parameters: { mode: ['fast'] } });
    await expect(sendWith({ mode: ['warp'] })).rejects.toThrow('one of fast, slow');
    await expect(sendWith({ name: ['long'] })).rejects.toThrow('0 to 3 characters');
  });

  it.each<[string, JsonObject]>([
    ['schemaVersion 0.3', { ...document(), schemaVersion: '0.3' }],
    ['exactly one step', { ...document(), mainSteps: [] }],
    ['aws:runDocument', document({ action: 'aws:runDocument' })],
    ['a precondition', document({ precondition: { StringEquals: ['platformType', 'Windows'] } })],
    ['StringList', document({}, { list: { type: 'StringList' } })],
  ])('fails by name on a document with %s', (named, content) => {
    expect(() => ssm.putDocument('Other', content)).toThrow(named);
  });

  it('emits an event for each status of a command', async () => {
    script = async () => ({ exitCode: 3, stdout: '', stderr: '' });
    await send();
    await clock.settle();
    expect(events.map(({ detailType, detail }) => [detailType, detail.status])).toEqual([
      ['EC2 Command Invocation Status-change Notification', 'InProgress'],
      ['EC2 Command Status-change Notification', 'InProgress'],
      ['EC2 Command Invocation Status-change Notification', 'Failed'],
      ['EC2 Command Status-change Notification', 'Failed'],
    ]);
    expect(events[2]).toEqual({
      source: 'aws.ssm',
      detailType: 'EC2 Command Invocation Status-change Notification',
      resources: [`arn:aws:ssm:eu-north-1:111122223333:managed-instance/${NODE}`],
      detail: {
        'command-id': 'command-1',
        'document-name': 'RunStage',
        'instance-id': NODE,
        'requested-date-time': '2026-01-01T00:00:00.000Z',
        status: 'Failed',
      },
    });
    expect(events[3]?.detail).toMatchObject({
      'expire-after': '2026-01-01T01:02:00.000Z',
      parameters: { requestId: ['a.1'] },
    });
  });

  it('fails a command whose node can not run it', async () => {
    script = () => Promise.reject(new Error('no shell'));
    await send();
    await clock.settle();
    expect(await result()).toMatchObject({ Status: 'Failed', ResponseCode: -1 });
    expect((await result()).StandardErrorContent).toContain('no shell');
  });

  it('kills what runs longer than the execution timeout', async () => {
    script = () => new Promise(() => {});
    await send();
    await clock.advance(119_000);
    expect(await result()).toMatchObject({ Status: 'InProgress', StandardOutputContent: '' });
    expect(steps[0]?.signal.aborted).toBe(false);
    await clock.advance(1_000);
    expect(await result()).toMatchObject({ Status: 'TimedOut', StatusDetails: 'ExecutionTimedOut', ResponseCode: -1 });
    expect(steps[0]?.signal.aborted).toBe(true);
  });

  it('does not signal a script that is over', async () => {
    await send();
    await clock.runUntilIdle();
    expect(steps[0]?.signal.aborted).toBe(false);
  });

  it('runs five commands at a time on a node; the sixth waits', async () => {
    script = lasting(10_000);
    for (let count = 0; count < 6; count += 1) await send();
    await clock.settle();
    expect(steps).toHaveLength(5);
    expect((await result('command-6')).Status).toBe('Pending');
    await clock.advance(10_000);
    expect(steps).toHaveLength(6);
  });

  it('times out what an offline node does not take, and never runs it afterwards', async () => {
    ssm.setNodeOnline(NODE, false);
    await send({ TimeoutSeconds: 60 });
    await clock.advance(59_000);
    expect((await result()).Status).toBe('Pending');
    await clock.advance(1_000);
    expect(await result()).toMatchObject({ Status: 'TimedOut', StatusDetails: 'DeliveryTimedOut' });
    expect(statuses()).toEqual(['TimedOut']);
    ssm.setNodeOnline(NODE, true);
    await clock.settle();
    expect(steps).toEqual([]);
  });

  it('delivers to a node that comes back in time', async () => {
    ssm.setNodeOnline(NODE, false);
    expect(await call('DescribeInstanceInformation', {})).toMatchObject({
      InstanceInformationList: [{ InstanceId: NODE, PingStatus: 'ConnectionLost' }],
    });
    await send({ TimeoutSeconds: 60 });
    await clock.advance(30_000);
    ssm.setNodeOnline(NODE, true);
    await clock.settle();
    expect(statuses()).toEqual(['InProgress', 'Success']);
    expect(clock.pending).toBe(0);
  });

  it('cancels: kills what runs, forgets what waits, and leaves alone what is over', async () => {
    script = lasting(10_000);
    await send();
    await clock.settle();
    await call('CancelCommand', { CommandId: 'command-1' });
    await clock.settle();
    expect(steps[0]?.signal.aborted).toBe(true);
    expect((await result()).Status).toBe('Cancelled');

    ssm.setNodeOnline(NODE, false);
    await send();
    await call('CancelCommand', { CommandId: 'command-2' });
    await call('CancelCommand', { CommandId: 'command-2' });
    expect(statuses()).toEqual(['InProgress', 'Canceled', 'Canceled']);
    ssm.setNodeOnline(NODE, true);
    await clock.settle();
    expect(steps).toHaveLength(1);
    expect(clock.pending).toBe(0);
    await expect(call('CancelCommand', { CommandId: 'none' })).rejects.toMatchObject({ code: 'InvalidCommandId' });
  });

  it('cuts long output as the API does', async () => {
    script = async () => ({ exitCode: 0, stdout: 'o'.repeat(30_000), stderr: 'e'.repeat(9_000) });
    await send();
    await clock.settle();
    const { StandardOutputContent: stdout, StandardErrorContent: stderr } = await result();
    expect([String(stdout).length, String(stderr).length]).toEqual([24_000, 8_000]);
  });

  it('knows only invocations that there are', async () => {
    await expect(result('none')).rejects.toMatchObject({ code: 'InvocationDoesNotExist' });
  });

  it('lists commands and invocations', async () => {
    await send();
    await send();
    await clock.settle();
    expect(await call('ListCommands', { CommandId: 'command-2' })).toMatchObject({
      Commands: [{ CommandId: 'command-2', Status: 'Success', TargetCount: 1, CompletedCount: 1 }],
    });
    const { CommandInvocations } = await call('ListCommandInvocations', { InstanceId: NODE });
    expect(CommandInvocations).toHaveLength(2);
  });

  it('asks for permission on the document and on each node', () => {
    const input = { DocumentName: 'RunStage', InstanceIds: [NODE, 'i-01234567'] };
    expect(ssm.requiredPermissions('SendCommand', input).map(({ resource }) => resource)).toEqual([
      'arn:aws:ssm:eu-north-1:111122223333:document/RunStage',
      `arn:aws:ssm:eu-north-1:111122223333:managed-instance/${NODE}`,
      'arn:aws:ec2:eu-north-1:111122223333:instance/i-01234567',
    ]);
    expect(() => ssm.requiredPermissions('GetParameter', {})).toThrow('ssm:GetParameter');
  });

  it('kills everything and leaves no timer when it stops', async () => {
    script = lasting(10_000);
    await send();
    ssm.setNodeOnline(NODE, false);
    await send();
    await clock.settle();
    stop.abort();
    await clock.settle();
    expect(steps[0]?.signal.aborted).toBe(true);
    expect(clock.pending).toBe(0);
  });
});
