import { beforeEach, describe, expect, it } from 'vitest';
import type { AuditFinding, MigrationEnded } from '../../../contract/api.ts';
import { commitRecordKey } from '../../../contract/mailbox.ts';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

const SLOWLY = { policy: { bandwidthMiBps: 50 } };

async function withGuest(plane: ControlPlane): Promise<void> {
  await plane.register(['kvm-a', 'kvm-b']);
  plane.fleet.addGuest('kvm-a', { name: 'web' });
}

function setOnline(plane: ControlPlane, hostId: string, online: boolean): void {
  if (online) plane.fleet.host(hostId).becomeReachable();
  else plane.fleet.host(hostId).becomeUnreachable();
  plane.aws.setNodeOnline(plane.host(hostId).nodeId, online);
}

/** A committed handover whose destination is gone, before or after it has started the VM. */
async function inDoubt(plane: ControlPlane, { started }: { started: boolean }): Promise<string> {
  plane.fleet.host('kvm-b').faults.set('finish', async (proceed) => {
    if (started) await proceed();
    setOnline(plane, 'kvm-b', false);
    return new Promise(() => {});
  });
  const id = await plane.migrate('web');
  expect(await plane.ended(id, 7_200)).toMatchObject({ status: 'NEEDS_OPERATOR' });
  plane.fleet.host('kvm-b').faults.delete('finish');
  return id;
}

const resolve = (plane: ControlPlane, id: string, owner: string, reason = 'I looked') =>
  plane.http<{ status: string; code: string; detail: string }>('POST', `/migrations/${id}/resolve`, {
    body: { owner, reason },
  });

describe('resolving', () => {
  const plane = eachWithControlPlane(withGuest);

  it('says first what was seen and proven, and what settles it', async () => {
    const id = await inDoubt(plane(), { started: false });
    const { failure } = await plane().show(id);
    expect(failure!.message).toContain('source shows it paused');
    expect(failure!.message).toContain('destination does not answer');
    expect(failure!.message).toContain('committed');
    expect(failure!.message).toContain(`handoff resolve ${id} --owner`);
    plane().leaves = [`lock of VM#web: ${id}`];
  });

  it('with the source resumes the VM there', async () => {
    const id = await inDoubt(plane(), { started: false });
    plane().fleet.host('kvm-b').copies.delete('web');
    expect(await resolve(plane(), id, 'source', 'kvm-b has no power')).toMatchObject({
      status: 202,
      body: { status: 'RECOVERING' },
    });
    const view = await plane().ended(id);
    expect(view).toMatchObject({
      status: 'FAILED',
      runsOn: 'kvm-a',
      operator: { owner: 'source', reason: 'kvm-b has no power', by: expect.stringContaining('user/local') },
      failure: { code: 'SettledByOperator', message: expect.stringContaining('kvm-b has no power') },
    });
    expect(view.executionArn).toMatch(new RegExp(`:handoff-recover:${id}.1$`));
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(view.timeline.find(({ event }) => event === 'resolved by operator')?.detail).toMatchObject({
      owner: 'source',
    });
  });

  it('with the destination removes the paused copy of the source', async () => {
    const id = await inDoubt(plane(), { started: true });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    await resolve(plane(), id, 'destination');
    expect(await plane().ended(id)).toMatchObject({
      status: 'SUCCEEDED',
      runsOn: 'kvm-b',
      warning: { code: 'SettledByOperator' },
    });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    expect(plane().fleet.host('kvm-a').copies.has('web')).toBe(false);
  });

  it('against what a host proves by now is refused, with the proof; the right word settles it', async () => {
    const id = await inDoubt(plane(), { started: true });
    setOnline(plane(), 'kvm-b', true);
    await resolve(plane(), id, 'source');
    const refused = await plane().ended(id);
    expect(refused).toMatchObject({
      status: 'NEEDS_OPERATOR',
      failure: {
        code: 'NeedsOperator',
        message: expect.stringContaining('refused, because it runs on the destination'),
      },
    });
    expect(plane().fleet.host('kvm-a').mustHave('web').state).toBe('migrating-paused');
    await resolve(plane(), id, 'destination');
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    expect((await plane().show(id)).executionArn).toMatch(new RegExp(`:${id}.2$`));
  });

  it('is not undone by the execution that asked, still busy with its end', async () => {
    let busy = true;
    plane().aws.intercept(async ({ operation }, next) => {
      // The event of the end can't be put, so that Migrate calls settle again and again.
      if (operation === 'PutEvents' && busy) throw new Error('EventBridge is away');
      return next();
    });
    const id = await inDoubt(plane(), { started: true });
    await resolve(plane(), id, 'destination');
    await plane().clock.advance(60_000);
    busy = false;
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    await plane().clock.advance(120_000);
    const { timeline } = await plane().show(id);
    expect(timeline.flatMap(({ event, detail }) => (event === 'ended' ? [detail?.status] : []))).toEqual([
      'NEEDS_OPERATOR',
      'SUCCEEDED',
    ]);
  });

  it('by two at once hears one of them', async () => {
    const id = await inDoubt(plane(), { started: true });
    const answers = await Promise.all([resolve(plane(), id, 'destination'), resolve(plane(), id, 'source')]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([202, 409]);
    const view = await plane().ended(id);
    const heard = answers[0]!.status === 202 ? 'destination' : 'source';
    expect(view.operator!.owner).toBe(heard);
    if (heard === 'source') plane().leaves = [`lock of VM#web: ${id}`];
    expect(plane().runsOn('web').length).toBeLessThanOrEqual(1);
  });

  it('goes on when its execution was never started, and when the next one is stopped', async () => {
    const id = await inDoubt(plane(), { started: true });
    plane().aws.intercept(async ({ operation, input }, next) => {
      if (operation === 'StartExecution' && String(input.name) === `${id}.1`) throw new Error('lost');
      return next();
    });
    expect((await resolve(plane(), id, 'destination')).status).toBe(500);
    plane().aws.intercept(undefined);
    const second = await plane().until('the sweep has seen it', async () =>
      (await plane().executions('RecoverMachine')).find(({ status }) => status === 'RUNNING'),
    );
    await plane().stopByHand(String(second.executionArn));
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b', warning: { code: 'SettledByOperator' } });
    expect(view.executionArn).toMatch(new RegExp(`:${id}.3$`));
  });

  it('needs both hosts, which cannot be removed before it', async () => {
    const id = await inDoubt(plane(), { started: true });
    await plane().http('POST', '/hosts/kvm-a/evacuate');
    await plane().clock.advance(900_000);
    expect(await plane().http('DELETE', '/hosts/kvm-a?gone=true')).toMatchObject({
      status: 409,
      body: {
        code: 'HostInUse',
        detail: expect.stringContaining(`${id} still moves web, or needs an operator`),
      },
    });
    await resolve(plane(), id, 'destination');
    await plane().ended(id);
  });

  it('is for migrations that need an operator only', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    expect(await resolve(plane(), id, 'source')).toMatchObject({
      status: 409,
      body: { code: 'NotInDoubt', detail: expect.stringContaining('PRECOPY') },
    });
    await plane().ended(id);
    expect(await resolve(plane(), id, 'source')).toMatchObject({ status: 409 });
    expect(await resolve(plane(), id, 'both')).toMatchObject({ status: 400, body: { code: 'InvalidInput' } });
    expect(await resolve(plane(), 'nobody-1', 'source')).toMatchObject({ status: 404 });
  });
});

describe('a destination that is silent after the mover has reported its success', () => {
  const plane = eachWithControlPlane(withGuest);

  it('needs no operator: the migration succeeded, and the host is flagged until it answers', async () => {
    const destination = plane().host('kvm-b');
    plane().aws.intercept(async ({ operation, input }, next) => {
      // Verify finds it gone.
      if (operation === 'SendCommand' && JSON.stringify(input).includes('.verify.')) {
        plane().aws.setNodeOnline(destination.nodeId, false);
      }
      return next();
    });
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({
      status: 'SUCCEEDED',
      runsOn: 'kvm-b',
      warning: { code: expect.stringMatching(/CommandFailed|HostSilent/) },
    });
    plane().aws.intercept(undefined);
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    plane().aws.setNodeOnline(destination.nodeId, true);
    await plane().clock.advance(900_000);
    expect((await plane().control()).filter(({ pk }) => pk === 'CLEANUPS')).toEqual([]);
  });
});

describe('the sweep', () => {
  const plane = eachWithControlPlane(withGuest);

  const isEventOfAnEnd = ({
    service,
    operation,
    input,
  }: {
    service: string;
    operation: string;
    input: Record<string, unknown>;
  }) =>
    service === 'lambda' &&
    operation === 'Invoke' &&
    String(input.FunctionName).endsWith(':handoff-on-execution-stopped');
  let lost = 0;
  beforeEach(() => {
    lost = 0;
  });
  // A test that lost no event would pass by the event, and show nothing of the sweep.
  const expectLost = () => expect(lost, 'events lost').toBeGreaterThan(0);

  /** The event of an execution's end never comes. */
  function loseEvents(): void {
    plane().aws.intercept(async (call, next) => {
      if (!isEventOfAnEnd(call)) return next();
      lost += 1;
      return { StatusCode: 202 };
    });
  }

  it('recovers a migration whose execution was stopped and nobody was told', async () => {
    loseEvents();
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    await plane().stopByHand((await plane().show(id)).executionArn);
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'FAILED', runsOn: 'kvm-a', failure: { code: 'ExecutionStopped' } });
    expect(await plane().executions('RecoverMachine')).toMatchObject([{ name: `${id}.1`, status: 'SUCCEEDED' }]);
    expectLost();
  });

  it('starts nothing while an execution is at work', async () => {
    const id = await plane().migrate('web', {
      policy: { bandwidthMiBps: 6, deadlineSeconds: 1_200, onNonConvergence: 'exceed' },
    });
    await plane().ended(id);
    expect(
      (Date.parse((await plane().show(id)).endedAt!) - Date.parse((await plane().show(id)).requestedAt)) / 1_000,
    ).toBeGreaterThan(600);
    expect(await plane().executions('RecoverMachine')).toEqual([]);
  });

  it('gives back what a migration left when it was stopped in the midst of settling', async () => {
    loseEvents();
    const id = await plane().migrate('nobody');
    let stopped: Promise<unknown> | undefined;
    const settling = plane().until('it settles', async () => stopped);
    plane().aws.intercept(async (call, next) => {
      const { operation, input } = call;
      if (isEventOfAnEnd(call)) {
        lost += 1;
        return { StatusCode: 202 };
      }
      // The function dies with its execution, between the outcome and what it gives back.
      if (operation === 'UpdateItem' && String(input.UpdateExpression).startsWith('DELETE #side')) {
        stopped ??= plane().stopByHand(executionArn);
        throw new Error('killed');
      }
      return next();
    });
    const { executionArn } = await plane().show(id);
    await settling;
    await plane().clock.advance(10_000);
    plane().aws.intercept(undefined);
    expectLost();
    expect(await plane().held()).toContain(`outgoing slot of kvm-a: ${id}`);
    expect(await plane().held()).toContain(`lock of VM#nobody: ${id}`);
    await plane().clock.advance(600_000);
    expect(await plane().held()).toEqual([]);
  });
});

describe('a host that was silent when the migration was settled', () => {
  const plane = eachWithControlPlane(withGuest);
  const pendingCleanups = async () => (await plane().control()).filter(({ pk }) => pk === 'CLEANUPS');
  const audit = async () =>
    (await plane().http<{ findings: AuditFinding[] }>('POST', '/audit', { body: { repair: true } })).body.findings;

  /** The mover dies right after the commit, or after Finish, and its host is out of reach with it. */
  async function lostSource({ finished }: { finished: boolean }): Promise<string> {
    const lose = async (proceed?: () => Promise<unknown>) => {
      await proceed?.();
      plane().host('kvm-a').node.killMovers();
      plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, false);
      return new Promise<never>(() => {});
    };
    if (finished) plane().fleet.host('kvm-b').faults.set('finish', lose);
    else {
      plane().aws.intercept(async ({ operation, input }, next) =>
        operation === 'UpdateItem' && JSON.stringify(input).includes('committedBy') ? lose() : next(),
      );
    }
    const id = await plane().migrate('web', { policy: { heartbeatTimeoutSeconds: 10 } });
    const view = await plane().ended(id);
    expect(view.status).toBe(finished ? 'SUCCEEDED' : 'FAILED');
    plane().aws.intercept(undefined);
    plane().fleet.host('kvm-b').faults.delete('finish');
    expect(plane().fleet.host('kvm-a').mustHave('web').state).toBe('migrating-paused');
    expect(await plane().held()).toEqual([]);
    return id;
  }

  it('stays flagged while it is away, and the audit says so', async () => {
    const id = await lostSource({ finished: false });
    await plane().clock.advance(3 * 3_600_000);
    expect(await audit()).toMatchObject([{ resource: 'pending cleanup', of: 'kvm-a', owner: id, outcome: 'reported' }]);
    // Nobody asks a host that is not there.
    expect(await plane().executions('RecoverMachine')).toEqual([]);
  });

  it('can be removed by a person who knows that it is gone for good, and only then', async () => {
    const id = await lostSource({ finished: true });
    const evacuation = await plane().http('POST', '/hosts/kvm-a/evacuate');
    expect(evacuation.status).toBe(202);
    await plane().clock.advance(600_000);
    for (const host of ['kvm-a', 'kvm-b']) {
      expect(await plane().http('DELETE', `/hosts/${host}`)).toMatchObject({
        status: 409,
        body: {
          code: 'HostInUse',
          detail: expect.stringMatching(host === 'kvm-a' ? /may still hold a copy of web/ : /it takes VMs/),
        },
      });
    }
    expect(await pendingCleanups()).toHaveLength(1);
    expect(await plane().http('DELETE', '/hosts/kvm-a?gone=true')).toMatchObject({ status: 200 });
    expect(await pendingCleanups()).toEqual([]);
    expect(await audit()).toEqual([]);
    expect((await plane().listHosts()).map(({ hostId }) => hostId)).toEqual(['kvm-b']);
    const told = (await plane().show(id)).timeline.find(({ event }) => event === 'host declared lost');
    expect(told?.detail).toMatchObject({ host: 'kvm-a', vm: 'web', by: expect.stringContaining('arn:aws:') });
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
  });

  it('resumes the VM there when it is back and owns it; the outcome stays', async () => {
    const id = await lostSource({ finished: false });
    const before = await plane().show(id);
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, true);
    await plane().clock.advance(600_000);
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(await pendingCleanups()).toEqual([]);
    expect(await audit()).toEqual([]);
    const { status, runsOn, endedAt, failure } = before;
    const view = await plane().show(id);
    expect(view).toMatchObject({ status, runsOn, endedAt, failure });
    expect(view.timeline.find(({ event }) => event === 'cleanup ended')?.detail).toMatchObject({ clear: ['kvm-a'] });
    expect(await plane().ended(await plane().migrate('web'))).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('loses its stale copy when it is back, also when the VM has moved on since', async () => {
    await plane().register(['kvm-c']);
    await lostSource({ finished: true });
    const next = await plane().migrate('web', { source: 'kvm-b', destination: 'kvm-c' });
    expect(await plane().ended(next)).toMatchObject({ status: 'SUCCEEDED' });
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, true);
    await plane().clock.advance(600_000);
    expect(plane().runsOn('web')).toEqual(['kvm-c']);
    expect(plane().fleet.host('kvm-a').copies.has('web')).toBe(false);
    expect(await pendingCleanups()).toEqual([]);
  });

  it('is not resumed when the VM was started elsewhere by hand: a person is told, and the flag stays', async () => {
    const id = await lostSource({ finished: false });
    const { guest } = plane().fleet.host('kvm-a').mustHave('web');
    plane().fleet.host('kvm-b').run(guest, 'running (booted)');
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, true);
    await plane().clock.advance(600_000);
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    expect(await audit()).toMatchObject([
      { of: 'kvm-a', owner: id, why: expect.stringContaining('cannot be resumed') },
    ]);
    // Once that is put right by hand, the next look finds it so.
    plane().fleet.host('kvm-a').copies.delete('web');
    await plane().clock.advance(1_200_000);
    expect(await pendingCleanups()).toEqual([]);
  });

  it('is followed up to its end although the execution that does it is stopped', async () => {
    await lostSource({ finished: false });
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, true);
    let stopped: Promise<unknown> | undefined;
    const stop = async () => {
      plane().aws.intercept(undefined);
      const [running] = (await plane().executions('RecoverMachine')).filter(({ status }) => status === 'RUNNING');
      await plane().stopByHand(String(running!.executionArn));
    };
    plane().aws.intercept(async ({ operation }, next) => {
      if (operation === 'SendCommand') stopped ??= stop();
      await stopped;
      return next();
    });
    await plane().clock.advance(3_600_000);
    expect(stopped).toBeDefined();
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(await pendingCleanups()).toEqual([]);
  });
});

describe('an audit', () => {
  const plane = eachWithControlPlane(withGuest);
  const audit = async (repair?: boolean) =>
    (
      await plane().http<{ findings: AuditFinding[] }>('POST', '/audit', {
        ...(repair !== undefined && { body: { repair } }),
      })
    ).body.findings;

  it('finds nothing while a migration is at work, and nothing afterwards', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    expect(await audit(true)).toEqual([]);
    await plane().ended(id);
    expect(await audit()).toEqual([]);
  });

  it('leaves the lock of a VM that needs an operator', async () => {
    const id = await inDoubt(plane(), { started: true });
    await plane().clock.advance(600_000);
    expect(await audit(true)).toEqual([]);
    plane().leaves = [`lock of VM#web: ${id}`];
  });

  it('lets go of a host whose evacuation was stopped', async () => {
    // It has to wait for the host's answer.
    setOnline(plane(), 'kvm-b', false);
    const { body } = await plane().http<{ executionArn: string }>('POST', '/hosts/kvm-b/evacuate');
    const evacuation = async () =>
      (await plane().control()).find(({ pk, sk }) => pk === 'HOSTS' && sk === 'kvm-b')!.evacuation;
    await plane().until('it has begun', async () => (await evacuation()) === body.executionArn);
    await plane().stopByHand(body.executionArn);
    expect(await audit(true)).toEqual([]);
    await plane().clock.advance(150_000);
    expect(await audit()).toMatchObject([
      { resource: 'evacuation', of: 'kvm-b', why: expect.stringContaining('ABORTED') },
    ]);
    expect(await audit(true)).toMatchObject([{ resource: 'evacuation', of: 'kvm-b', outcome: 'repaired' }]);
    expect(await evacuation()).toBeUndefined();
  });

  it('closes a commit record that nobody can use any more', async () => {
    const id = await plane().migrate('web');
    await plane().ended(id);
    await plane().clock.advance(200_000);
    const Key = commitRecordKey(plane().host('kvm-a').mailbox, id);
    const Item = Object.fromEntries(Object.entries({ ...Key, state: 'OPEN' }).map(([name, S]) => [name, { S }]));
    const table = { TableName: String(plane().aws.outputs.MailboxTable) };
    await plane().aws.callAws('dynamodb', 'PutItem', { ...table, Item }, plane().aws.adminCaller);
    expect(await audit(true)).toMatchObject([
      { resource: 'commit record', of: 'kvm-a', owner: id, outcome: 'repaired' },
    ]);
    expect((await plane().mailbox()).find(({ sk }) => sk === Key.sk)).toMatchObject({ state: 'REVOKED' });
  });

  it('reports an owner nobody knows and repairs one that has ended', async () => {
    const id = await plane().migrate('web');
    await plane().ended(id);
    await plane().clock.advance(200_000);
    const table = { TableName: String(plane().aws.outputs.ControlTable) };
    const put = (vm: string, owner: string) =>
      plane().aws.callAws(
        'dynamodb',
        'PutItem',
        {
          ...table,
          Item: {
            pk: { S: `VM#${vm}` },
            sk: { S: 'LOCK' },
            entity: { S: 'LOCK' },
            migrationId: { S: owner },
            requestedAt: { S: '2026-01-01T00:00:00.000Z' },
          },
        },
        plane().aws.adminCaller,
      );
    await put('one', id);
    await put('two', 'nobody-1');
    const found = [
      { resource: 'lock', of: 'one', owner: id, outcome: 'reported', why: expect.stringContaining('SUCCEEDED') },
      { resource: 'lock', of: 'two', owner: 'nobody-1', outcome: 'reported', why: 'its owner is not known' },
    ];
    const sorted = (findings: AuditFinding[]) => findings.toSorted((a, b) => a.of.localeCompare(b.of));
    expect(sorted(await audit())).toEqual(found);
    expect(sorted(await audit(true))).toEqual([{ ...found[0], outcome: 'repaired' }, found[1]]);
    expect(await audit(true)).toEqual([found[1]]);
    plane().leaves = ['lock of VM#two: nobody-1'];
  });
});

describe('the end of a migration', () => {
  const plane = eachWithControlPlane(withGuest);

  it('is told on the event bus, and costs less than twenty transitions when all goes well', async () => {
    const told: MigrationEnded[] = [];
    plane().aws.intercept(async ({ service, operation, input }, next) => {
      if (service === 'events' && operation === 'PutEvents') {
        for (const entry of input.Entries as { DetailType: string; Detail: string }[]) {
          if (entry.DetailType === 'Migration Ended') told.push(JSON.parse(entry.Detail));
        }
      }
      return next();
    });
    const id = await plane().migrate('web');
    const { executionArn } = await plane().ended(id);
    expect(told).toEqual([
      { migrationId: id, vm: 'web', source: 'kvm-a', destination: 'kvm-b', status: 'SUCCEEDED', runsOn: 'kvm-b' },
    ]);
    const { events } = await plane().aws.callAws(
      'states',
      'GetExecutionHistory',
      { executionArn, maxResults: 1_000 },
      plane().aws.adminCaller,
    );
    const entered = (events as { type: string }[]).filter(({ type }) => type.endsWith('StateEntered'));
    expect(entered.length).toBeLessThan(20);
  });
});
