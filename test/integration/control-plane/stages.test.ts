import { GetCommand, PutCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { describe, expect, it } from 'vitest';
import { commitRecordKey, reportKey } from '../../../contract/mailbox.ts';
import { requestIdOf } from '../../../contract/names.ts';
import { CONTRACT_VERSION } from '../../../contract/version.ts';
import type { JsonObject } from '../../../embedded-aws/core/service.ts';
import type { NodeExecutor } from '../../../embedded-aws/ssm/node.ts';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

const SLOWLY = { policy: { bandwidthMiBps: 50 } };

async function withGuest(plane: ControlPlane): Promise<void> {
  await plane.register(['kvm-a', 'kvm-b']);
  plane.fleet.addGuest('kvm-a', { name: 'web' });
}

/** Puts something between SSM and a host's agent. */
function inFrontOf(plane: ControlPlane, hostId: string, wrap: (agent: NodeExecutor) => NodeExecutor): void {
  const { nodeId, node } = plane.host(hostId);
  plane.aws.registerNode(nodeId, wrap(node));
}

async function secondsOf(plane: ControlPlane, id: string): Promise<number> {
  const { requestedAt, endedAt } = await plane.show(id);
  return (Date.parse(endedAt!) - Date.parse(requestedAt)) / 1_000;
}

describe('preflight', () => {
  const plane = eachWithControlPlane(withGuest);

  it('that fails names the checks and touches nothing', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'huge', memoryMiB: 500_000 });
    plane().fleet.addGuest('kvm-b', { name: 'huge', memoryMiB: 1_024 });
    const id = await plane().migrate('huge');
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    const failed = view.checks!.filter(({ passed }) => !passed);
    expect(failed.map(({ role, name }) => `${role}: ${name}`)).toEqual([
      'destination: memory',
      'destination: no-such-domain-yet',
    ]);
    for (const { name, found, remedy } of failed) {
      expect(view.failure!.message).toContain(`${name}: ${found} (${remedy})`);
    }
    expect(view.timeline.map(({ event }) => event)).not.toContain('precopy task sent');
    expect(plane().fleet.host('kvm-a').mustHave('huge').detail).toBe('running (booted)');
  });

  it('fails early when the agent cannot be run', async () => {
    inFrontOf(plane(), 'kvm-b', () => ({
      run: async () => ({ exitCode: 127, stdout: '', stderr: 'handoff-agent: not found' }),
    }));
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'CommandFailed', message: expect.stringMatching(/preflight .* kvm-b .*Failed/) },
    });
    expect(await secondsOf(plane(), id)).toBeLessThan(5);
  });

  it('fails when a host does not fetch its command within half a minute', async () => {
    plane().aws.setNodeOnline(plane().host('kvm-b').nodeId, false);
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'FAILED', failure: { code: 'CommandFailed' } });
    expect(await secondsOf(plane(), id)).toBeLessThan(35);
  });

  it('says which host is silent when an agent neither reports nor ends', async () => {
    inFrontOf(plane(), 'kvm-b', () => ({ run: () => new Promise(() => {}) }));
    const id = await plane().migrate('web');
    const { failure } = await plane().ended(id);
    expect(failure).toEqual({ code: 'HostSilent', message: expect.stringContaining('Preflight') });
    expect(await secondsOf(plane(), id)).toBeLessThan(95);
  });

  it('is not begun when its order comes too late', async () => {
    inFrontOf(plane(), 'kvm-a', (agent) => ({
      run: async (step, signal) => {
        await plane().clock.sleep(61_000);
        return agent.run(step, signal);
      },
    }));
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'FAILED', failure: { code: 'TaskExpired' } });
  });
});

describe('an order', () => {
  const plane = eachWithControlPlane(withGuest);

  it('that SSM delivers twice is carried out once', async () => {
    const outcomes: string[] = [];
    for (const hostId of ['kvm-a', 'kvm-b']) {
      inFrontOf(plane(), hostId, (agent) => ({
        run: async (step, signal) => {
          const [first, second] = await Promise.all([agent.run(step, signal), agent.run(step, signal)]);
          const third = await agent.run(step, signal);
          outcomes.push(
            [first.stdout, second.stdout, third.stdout].filter((out) => !/claimed-before/.test(out)).join(),
          );
          return first;
        },
      }));
    }
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    // Each command had one run that did something: two preflights, pre-copy, observe-guest, cutover, two verifies.
    expect(outcomes.toSorted()).toEqual([
      ...Array(2).fill('mover-reports\n'),
      'observer-reports\n',
      ...Array(4).fill('reported\n'),
    ]);
  });

  it('that is sent twice is carried out once', async () => {
    plane().aws.intercept(async ({ operation }, next) => {
      if (operation === 'SendCommand') await next();
      return next();
    });
    const id = await plane().migrate('web');
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    expect(view.timeline.filter(({ event }) => event === 'precopy succeeded')).toHaveLength(1);
  });
});

describe('a stage that is asked for again', () => {
  const plane = eachWithControlPlane(withGuest);

  /** Calls `dispatch` as it was called for a stage of this migration; its answer, as text. */
  async function again(calls: readonly JsonObject[], stage: string): Promise<string> {
    const call = calls.find(({ Payload }) => String(Payload).includes(`"stage":"${stage}"`));
    return String((await plane().aws.callAws('lambda', 'Invoke', call!, plane().aws.adminCaller)).Payload);
  }

  it('after it was answered is not ordered again, and not at all once the migration has ended', async () => {
    const calls: JsonObject[] = [];
    plane().aws.intercept(({ operation, input }, next) => {
      if (operation === 'Invoke') calls.push(input);
      return next();
    });
    const id = await plane().migrate('web');
    const before = await plane().ended(id);
    const made = calls.length;
    expect(await again(calls, 'verify')).toContain('"alreadyAnswered":true');
    expect(await again(calls, 'precopy')).toContain('"errorType":"Cancelled"');
    await plane().clock.advance(60_000);
    expect(calls).toHaveLength(made + 2);
    expect(await plane().show(id)).toEqual(before);
  });

  it('while it is under way is carried out once', async () => {
    const sent: string[] = [];
    plane().aws.intercept(async ({ operation, input }, next) => {
      if (operation === 'SendCommand') sent.push(...((input.Parameters as JsonObject).requestId as string[]));
      if (operation === 'Invoke' && String(input.Payload).includes('"stage":"precopy"')) await next();
      return next();
    });
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
    expect(sent.filter((requestId) => requestId.includes('.precopy.'))).toHaveLength(2);
  });
});

describe('what a host writes', () => {
  const plane = eachWithControlPlane(withGuest);
  const report = (migrationId: string, requestId: string) => ({
    version: CONTRACT_VERSION,
    requestId,
    migrationId,
    stage: 'precopy',
    role: 'source',
    sequence: 10_000,
    at: new Date(plane().clock.now()).toISOString(),
    kind: 'failed',
    failure: { code: 'CopyFailed', message: 'a lie' },
  });
  const write = (from: string, item: Record<string, unknown>) =>
    plane()
      .host(from)
      .dynamo.send(new PutCommand({ TableName: plane().aws.outputs.MailboxTable, Item: item }));

  it("is not believed about another host's request", async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    const requestId = requestIdOf(id, 'precopy', 'source', 1);
    await write('kvm-b', { ...reportKey(plane().host('kvm-b').mailbox, requestId), report: report(id, requestId) });
    await plane().clock.advance(2_000);
    expect(await plane().show(id)).toMatchObject({ status: 'PRECOPY' });
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('is not believed under the name of another of its requests', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    const other = requestIdOf(id, 'verify', 'source', 1);
    await write('kvm-a', {
      ...reportKey(plane().host('kvm-a').mailbox, other),
      report: report(id, requestIdOf(id, 'precopy', 'source', 1)),
    });
    await plane().clock.advance(2_000);
    expect(await plane().show(id)).toMatchObject({ status: 'PRECOPY' });
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('is dropped when it is no report, and holds up no others', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    const { mailbox } = plane().host('kvm-b');
    await write('kvm-b', {
      ...reportKey(mailbox, requestIdOf(id, 'verify', 'destination', 1)),
      report: { kind: 'lies' },
    });
    await write('kvm-b', { ...reportKey(mailbox, 'nonsense') });
    await write('kvm-b', { ...reportKey(mailbox, requestIdOf('nobody-1', 'precopy', 'source', 1)), report: 7 });
    await plane().clock.advance(2_000);
    // Its own verify it has spoilt: what lies there is not overwritten, so that its answer is never heard.
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
  });

  it('stays in its own mailbox: IAM keeps hosts from each other and from the control plane', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    const { dynamo } = plane().host('kvm-b');
    const { MailboxTable, ControlTable } = plane().aws.outputs;
    const own = plane().host('kvm-b').mailbox;
    const other = plane().host('kvm-a').mailbox;
    const forbidden = { name: 'AccessDeniedException' };
    const commitRecord = commitRecordKey(other, id);
    const commit = { UpdateExpression: 'SET x = :x', ExpressionAttributeValues: { ':x': 1 } };

    await expect(dynamo.send(new GetCommand({ TableName: MailboxTable, Key: commitRecord }))).rejects.toMatchObject(
      forbidden,
    );
    await expect(
      dynamo.send(new UpdateCommand({ TableName: MailboxTable, Key: commitRecord, ...commit })),
    ).rejects.toMatchObject(forbidden);
    await expect(write('kvm-b', reportKey(other, 'x'))).rejects.toMatchObject(forbidden);
    for (const pk of [own, other]) {
      const query = { KeyConditionExpression: 'pk = :pk', ExpressionAttributeValues: { ':pk': pk } };
      await expect(dynamo.send(new QueryCommand({ TableName: MailboxTable, ...query }))).rejects.toMatchObject(
        forbidden,
      );
    }
    const Key = { pk: 'HOSTS', sk: 'kvm-b' };
    await expect(dynamo.send(new GetCommand({ TableName: ControlTable, Key }))).rejects.toMatchObject(forbidden);
    await expect(dynamo.send(new UpdateCommand({ TableName: ControlTable, Key, ...commit }))).rejects.toMatchObject(
      forbidden,
    );
    // What it may do.
    expect(await dynamo.send(new GetCommand({ TableName: MailboxTable, Key: reportKey(own, 'x') }))).toBeDefined();
    await plane().ended(id);
  });
});

describe('recovery', () => {
  const plane = eachWithControlPlane(withGuest);

  it('begins when nothing is heard of the mover, and finds the VM unharmed', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    plane().host('kvm-a').node.killMovers();
    const died = plane().clock.now();
    const view = await plane().ended(id);
    expect(view).toMatchObject({
      status: 'FAILED',
      runsOn: 'kvm-a',
      failure: { code: 'MoverGone', message: expect.stringContaining('silen') },
    });
    const after = (Date.parse(view.endedAt!) - died) / 1_000;
    expect(after).toBeGreaterThan(55);
    expect(after).toBeLessThan(70);
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
  });

  it('keeps the VM where it is when its destination was cordoned while the copy was held', async () => {
    let cordoned = false;
    plane().aws.intercept(async ({ operation, input }, next) => {
      if (operation === 'Invoke' && String(input.Payload).includes('"stage":"cutover"') && !cordoned) {
        cordoned = true;
        await plane().http('POST', '/hosts/kvm-b/evacuate');
        await plane().until('kvm-b is cordoned', async () => (await plane().listHosts())[1]!.state !== 'ACTIVE');
      }
      return next();
    });
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({
      status: 'FAILED',
      runsOn: 'kvm-a',
      failure: { code: 'HostNotAccepting' },
    });
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(plane().fleet.host('kvm-b').copies.size).toBe(0);
    await plane().clock.advance(60_000);
  });

  it('asks an operator when a committed handover cannot be proven, and keeps the VM locked', async () => {
    // The destination is gone at the very moment at which it was to start the VM.
    plane()
      .fleet.host('kvm-b')
      .faults.set('finish', async () => {
        plane().fleet.host('kvm-b').becomeUnreachable();
        plane().aws.setNodeOnline(plane().host('kvm-b').nodeId, false);
        return new Promise(() => {});
      });
    const id = await plane().migrate('web');
    const view = await plane().ended(id, 7_200);
    expect(view).toMatchObject({ status: 'NEEDS_OPERATOR', failure: { code: 'NeedsOperator' } });
    expect(plane().runsOn('web')).toEqual([]);
    expect(plane().fleet.host('kvm-a').mustHave('web').state).toBe('migrating-paused');
    expect(
      await plane().http('POST', '/migrations', { body: { vm: 'web', source: 'kvm-a', destination: 'kvm-b' } }),
    ).toMatchObject({
      status: 409,
      body: { code: 'VmBusy', migrationId: id },
    });
    plane().leaves = [`lock of VM#web: ${id}`];
  });
});
