import { describe, expect, it } from 'vitest';
import { eachWithControlPlane } from './control-plane.ts';

interface Evacuation {
  evacuationId: string;
  status: string;
  result?: { moved?: { vm: string; to: string }[]; stays?: { vm: string; why: string }[]; duplicateOf?: string };
  failure?: { code: string; message: string };
}

describe('an evacuation', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b', 'kvm-c'], { memoryMiB: 32_768 });
  });

  async function evacuate(host: string): Promise<string> {
    const { status, body } = await plane().http<Evacuation>('POST', `/hosts/${host}/evacuate`, {
      body: { reason: 'fans' },
    });
    expect(status).toBe(202);
    return body.evacuationId;
  }
  const show = async (id: string) => (await plane().http<Evacuation>('GET', `/evacuations/${id}`)).body;
  const over = (id: string) =>
    plane().until(
      `${id} is over`,
      async () => {
        const view = await show(id);
        return view.status !== 'RUNNING' && view;
      },
      7_200,
    );
  const stateOf = async (host: string) => (await plane().listHosts()).find(({ hostId }) => hostId === host)!.state;

  it('moves every VM to the hosts that have room, and marks the host only then', async () => {
    for (const [name, memoryMiB] of [
      ['big', 16_384],
      ['mid', 8_192],
      ['small', 2_048],
    ] as const) {
      plane().fleet.addGuest('kvm-a', { name, memoryMiB });
    }
    const id = await evacuate('kvm-a');
    await plane().until('it has begun', async () => (await stateOf('kvm-a')) === 'CORDONED');
    const view = await over(id);
    expect(view).toMatchObject({ status: 'SUCCEEDED', result: { stays: [] } });
    expect(view.result!.moved!.map(({ vm }) => vm).toSorted()).toEqual(['big', 'mid', 'small']);
    for (const { vm, to } of view.result!.moved!) expect(plane().runsOn(vm)).toEqual([to]);
    expect(new Set(view.result!.moved!.map(({ to }) => to))).toEqual(new Set(['kvm-b', 'kvm-c']));
    expect(await stateOf('kvm-a')).toBe('IN_MAINTENANCE');
    await plane().clock.advance(5_000);

    expect(await plane().http('POST', '/hosts/kvm-a/uncordon')).toMatchObject({ body: { state: 'ACTIVE' } });
  });

  it('begins with a maintenance event, and ends on a host with nothing on it', async () => {
    plane().aws.putEvent({
      source: 'handoff.maintenance',
      detailType: 'Host Maintenance Scheduled',
      detail: { host: 'kvm-a', reason: 'new fans' },
    });
    await plane().until('kvm-a is in maintenance', async () => (await stateOf('kvm-a')) === 'IN_MAINTENANCE');
  });

  it('leaves a VM nobody can take running, and names it with the reasons of every host', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'huge', memoryMiB: 65_536 });
    plane().fleet.addGuest('kvm-a', { name: 'web' });
    const view = await over(await evacuate('kvm-a'));
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'HostNotEmptied' } });
    const { message } = view.failure!;
    expect(message).toMatch(/^1 VM\(s\) left running: huge - /);
    for (const host of ['kvm-b', 'kvm-c'])
      expect(message).toMatch(new RegExp(`${host}: PreflightFailed: memory: .*65536`));
    expect(plane().runsOn('huge')).toEqual(['kvm-a']);
    expect(plane().runsOn('web')).not.toEqual(['kvm-a']);
    expect(await stateOf('kvm-a')).toBe('CORDONED');
    // The host was let go of: it can be evacuated again.
    expect((await plane().control()).find(({ sk }) => sk === 'kvm-a')).not.toHaveProperty('evacuation');
  });

  it('says so when no other host takes VMs', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'web' });
    for (const host of ['kvm-b', 'kvm-c']) await over(await evacuate(host));
    const view = await over(await evacuate('kvm-a'));
    expect(view.failure).toEqual({
      code: 'HostNotEmptied',
      message: '1 VM(s) left running: web - no other host takes VMs',
    });
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
  });

  it('is done once, however often the event comes', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'web', memoryMiB: 16_384 });
    const first = await evacuate('kvm-a');
    await plane().until('it is under way', async () => (await plane().executions()).length > 0);
    const second = await over(await evacuate('kvm-a'));
    expect(second).toMatchObject({
      status: 'SUCCEEDED',
      result: { begun: false, duplicateOf: expect.stringContaining(first) },
    });
    expect(await over(first)).toMatchObject({ status: 'SUCCEEDED', result: { moved: [{ vm: 'web' }] } });
    expect(await plane().executions()).toHaveLength(1);
    await plane().clock.advance(5_000);
  });

  it('that is called off by an uncordon says so and does not mark the host', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'web', memoryMiB: 16_384 });
    const id = await evacuate('kvm-a');
    await plane().until('it is under way', async () => (await plane().executions()).length > 0);
    await plane().http('POST', '/hosts/kvm-a/uncordon');
    expect(await over(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'HostNotEmptied', message: expect.stringContaining('uncordoned') },
    });
    expect(await stateOf('kvm-a')).toBe('ACTIVE');
    await plane().clock.advance(5_000);
  });

  it('waits for a VM that is on its way already', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'web' });
    const own = await plane().migrate('web', { destination: 'kvm-c', policy: { bandwidthMiBps: 50 } });
    await plane().reaches(own, 'PRECOPY');
    const view = await over(await evacuate('kvm-a'));
    expect(view).toMatchObject({ status: 'SUCCEEDED' });
    expect(await plane().show(own)).toMatchObject({ status: 'SUCCEEDED' });
    expect(plane().runsOn('web')).toEqual(['kvm-c']);
  });

  it('does not mark a host that a VM was let in to before, though nothing of it is there yet', async () => {
    plane().fleet.addGuest('kvm-b', { name: 'web' });
    plane().aws.setNodeOnline(plane().host('kvm-b').nodeId, false);
    const arriving = await plane().migrate('web', { source: 'kvm-b', destination: 'kvm-a' });
    await plane().reaches(arriving, 'PREFLIGHT');
    const id = await evacuate('kvm-a');
    await plane().until('it is cordoned', async () => (await stateOf('kvm-a')) === 'CORDONED');
    expect(await over(id)).toMatchObject({ status: 'SUCCEEDED', result: { moved: [] } });
    expect((await plane().show(arriving)).endedAt).toBeDefined();
    expect(await stateOf('kvm-a')).toBe('IN_MAINTENANCE');
    plane().aws.setNodeOnline(plane().host('kvm-b').nodeId, true);
  });

  it('names what is still on its way to the host in the end', async () => {
    plane().fleet.addGuest('kvm-b', { name: 'web' });
    const arriving = await plane().migrate('web', {
      source: 'kvm-b',
      destination: 'kvm-a',
      policy: { cutover: 'manual' },
    });
    await plane().reaches(arriving, 'HELD');
    expect(await over(await evacuate('kvm-a'))).toMatchObject({
      status: 'FAILED',
      failure: {
        code: 'HostNotEmptied',
        message: expect.stringMatching(`^1 VM\\(s\\) left running: web; arriving here: ${arriving}$`),
      },
    });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    await plane().http('POST', `/migrations/${arriving}/cancel`);
    await plane().ended(arriving);
  });

  it('of a host whose agent does not answer fails, leaves it cordoned, and lets go of it', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'web' });
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, false);
    expect(await over(await evacuate('kvm-a'))).toMatchObject({ status: 'FAILED', failure: { code: 'CommandFailed' } });
    expect(await stateOf('kvm-a')).toBe('CORDONED');
    plane().aws.setNodeOnline(plane().host('kvm-a').nodeId, true);
    expect(await over(await evacuate('kvm-a'))).toMatchObject({ status: 'SUCCEEDED' });
    await plane().clock.advance(5_000);
  });

  it.each([
    [{ host: 'kvm-9' }, 'UnknownHost', 'kvm-9'],
    [{ hosts: ['kvm-a'] }, 'InvalidInput', 'host: is missing'],
  ])('event with the detail %j fails clearly', async (detail, code, words) => {
    plane().aws.putEvent({ source: 'handoff.maintenance', detailType: 'Host Maintenance Scheduled', detail });
    const failed = await plane().until('it has failed', async () =>
      (await plane().executions('EvacuateMachine')).find(({ status }) => status === 'FAILED'),
    );
    const { error, cause } = await plane().describe(String(failed.executionArn));
    expect(error).toBe(code);
    expect(cause).toContain(words);
  });
});
