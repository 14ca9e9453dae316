import { describe, expect, it } from 'vitest';
import { eachWithControlPlane } from './control-plane.ts';

const REQUEST = { vm: 'web', source: 'kvm-a', destination: 'kvm-b' };

/** What a person does in the AWS console, and another program with the AWS SDK. */
describe('the Migrate state machine, started by hand', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b']);
    started.fleet.addGuest('kvm-a', { name: 'web' });
  });

  async function outcome(name: string, input: unknown) {
    const { executionArn } = await plane().startByHand(name, input);
    return plane().until(
      `${name} is over`,
      async () => {
        const seen = await plane().describe(String(executionArn));
        return seen.status !== 'RUNNING' && seen;
      },
      3_600,
    );
  }

  it('migrates, and the API knows it', async () => {
    expect(await outcome('by-hand-1', REQUEST)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await plane().show('by-hand-1')).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    await plane().clock.advance(5_000);
  });

  it.each([
    ['without a destination', { vm: 'web', source: 'kvm-a' }, 'InvalidInput', 'destination: is missing'],
    ['with a field too many', { ...REQUEST, force: true }, 'InvalidInput', 'force: is not a field'],
    [
      'with a policy out of range',
      { ...REQUEST, policy: { blackoutBudgetMs: -1 } },
      'InvalidInput',
      'policy.blackoutBudgetMs',
    ],
    ['with no object at all', 'web', 'InvalidInput', 'request'],
    ['to a host nobody registered', { ...REQUEST, destination: 'kvm-9' }, 'UnknownHost', 'kvm-9'],
    ['to the same host', { ...REQUEST, destination: 'kvm-a' }, 'InvalidInput', 'two different hosts'],
  ])('%s ends at once with a clear error, and leaves nothing', async (_, input, code, words) => {
    const before = await plane().control();
    const began = plane().clock.now();
    const { status, error, cause } = await outcome('by-hand-2', input);
    expect({ status, error }).toEqual({ status: 'FAILED', error: code });
    expect(cause).toContain(words);
    expect(plane().clock.now() - began).toBeLessThan(5_000);
    expect(await plane().control()).toEqual(before);
    const answer = await plane().http('GET', '/migrations/by-hand-2');
    expect(answer.status).toBeLessThan(500);
  });

  it('under a name that is no migration id ends at once, and says what a name must be', async () => {
    const began = plane().clock.now();
    const { status, error, cause } = await outcome('my.migration', REQUEST);
    expect({ status, error }).toEqual({ status: 'FAILED', error: 'InvalidInput' });
    expect(cause).toContain('migrationId: must be 3-80 letters');
    expect(plane().clock.now() - began).toBeLessThan(5_000);
  });

  it('twice for one VM: the second fails and does not disturb the first', async () => {
    const first = plane().startByHand('by-hand-3', REQUEST);
    expect(await outcome('by-hand-4', REQUEST)).toMatchObject({ status: 'FAILED', error: 'VmBusy' });
    await first;
    expect(await plane().ended('by-hand-3')).toMatchObject({ status: 'SUCCEEDED' });
  });
});

describe('StopExecution', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b'], { limits: { outgoing: 1, incoming: 1 } });
    started.fleet.addGuest('kvm-a', { name: 'web' });
    started.fleet.addGuest('kvm-a', { name: 'db' });
  });
  const SLOWLY = { policy: { bandwidthMiBps: 50 } };

  async function stop(name: string): Promise<void> {
    const all = [...(await plane().executions()), ...(await plane().executions('RecoverMachine'))];
    const execution = all.find((each) => each.name === name);
    await plane().stopByHand(String(execution?.executionArn));
  }

  it('of a copy is taken over: the mover is stopped, the VM unharmed, everything given back', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    await stop(id);
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'FAILED', runsOn: 'kvm-a', failure: { code: 'ExecutionStopped' } });
    expect(view.executionArn).toMatch(new RegExp(`:${id}.1$`));
    expect(view.timeline.map(({ event }) => event)).toContain('stopped execution resumed');
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(plane().fleet.host('kvm-b').copies.size).toBe(0);
    expect(await plane().ended(await plane().migrate('web'))).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('of its successor too; the next one looks at the hosts anew', async () => {
    const id = await plane().migrate('web', SLOWLY);
    await plane().reaches(id, 'PRECOPY');
    await stop(id);
    // With a host that does not answer recovery takes its time.
    const { nodeId } = plane().host('kvm-b');
    plane().aws.setNodeOnline(nodeId, false);
    await plane().until('the source was inspected', async () =>
      (await plane().show(id)).timeline.some(({ event }) => event === 'inspect succeeded'),
    );
    await stop(`${id}.1`);
    // Somebody shuts the VM down: what the first recovery saw is no longer so.
    plane().fleet.host('kvm-a').copies.delete('web');
    plane().aws.setNodeOnline(nodeId, true);
    const view = await plane().ended(id);
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'ExecutionStopped' } });
    expect(view.runsOn).toBeUndefined();
    expect(view.executionArn).toMatch(new RegExp(`:${id}.2$`));
  });

  it('once the VM has been handed over ends with the VM where it is', async () => {
    const id = await plane().migrate('web');
    await plane().reaches(id, 'VERIFY');
    await stop(id);
    expect(await plane().ended(id)).toMatchObject({
      status: 'SUCCEEDED',
      runsOn: 'kvm-b',
      warning: { code: 'ExecutionStopped' },
    });
  });

  it('of a migration in line gives its place back', async () => {
    const first = await plane().migrate('db', SLOWLY);
    await plane().reaches(first, 'PRECOPY');
    const id = await plane().migrate('web');
    await plane().reaches(id, 'QUEUED');
    await stop(id);
    expect(await plane().ended(id)).toMatchObject({ status: 'FAILED', failure: { code: 'ExecutionStopped' } });
    expect(await plane().ended(first)).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('of an evacuation stops its migrations, which are settled', async () => {
    const { body } = await plane().http<{ executionArn: string }>('POST', '/hosts/kvm-a/evacuate', {
      body: SLOWLY,
    });
    const moving = await plane().until(
      'one of them copies',
      async () => (await plane().listHosts()).flatMap(({ outgoing }) => outgoing)[0],
    );
    await plane().reaches(moving, 'PRECOPY');
    await plane().stopByHand(body.executionArn);
    expect(await plane().ended(moving)).toMatchObject({ status: 'FAILED', runsOn: 'kvm-a' });
    await plane().until('all is given back', async () => (await plane().held()).length === 0);
    for (const vm of ['web', 'db']) expect(plane().runsOn(vm)).toEqual(['kvm-a']);
  });

  it('does nothing to a migration that has failed and settled by itself', async () => {
    const id = await plane().migrate('nobody');
    await plane().ended(id);
    await plane().clock.advance(120_000);
    expect(await plane().executions('RecoverMachine')).toEqual([]);
  });
});
