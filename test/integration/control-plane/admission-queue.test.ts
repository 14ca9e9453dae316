import { describe, expect, it } from 'vitest';
import { eachWithControlPlane } from './control-plane.ts';

/** A copy of 4 GiB at this speed takes minutes. */
const SLOWLY = { policy: { bandwidthMiBps: 20 } };

describe('a host whose slots are taken', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b', 'kvm-c'], { limits: { outgoing: 1, incoming: 1 } });
    for (const name of ['one', 'two', 'three', 'four']) started.fleet.addGuest('kvm-a', { name });
  });

  it('makes the next migrations wait in line, first come, first served', async () => {
    const task: string[] = [];
    for (const vm of ['one', 'two', 'three', 'four']) {
      task.push(await plane().migrate(vm, { policy: { bandwidthMiBps: 200 } }));
      await plane().clock.advance(1_000);
    }
    expect(await plane().show(task[0]!)).toMatchObject({ status: 'PRECOPY' });
    for (const waiting of task.slice(1)) {
      expect(await plane().show(waiting)).toMatchObject({ status: 'QUEUED', timeline: [{ event: 'queued' }] });
    }
    expect(await plane().listHosts()).toMatchObject([
      { hostId: 'kvm-a', outgoing: [task[0]] },
      { hostId: 'kvm-b', incoming: [task[0]] },
      { hostId: 'kvm-c' },
    ]);

    const admitted: string[] = [];
    for (const id of task) {
      const view = await plane().ended(id);
      expect(view).toMatchObject({ status: 'SUCCEEDED' });
      admitted.push(view.timeline.find(({ event }) => event === 'admitted')!.at);
    }
    expect(admitted).toEqual(admitted.toSorted());
  });

  it('never has more under way than it has slots for', async () => {
    const ids = await Promise.all(['one', 'two', 'three', 'four'].map((vm) => plane().migrate(vm)));
    let most = 0;
    await plane().until('all have ended', async () => {
      for (const { outgoing, incoming } of await plane().listHosts())
        most = Math.max(most, outgoing.length, incoming.length);
      const views = await Promise.all(ids.map((id) => plane().show(id)));
      return views.every(({ status }) => status === 'SUCCEEDED');
    });
    expect(most).toBe(1);
    await plane().clock.advance(5_000);
  });

  it('is waited for as long as the policy allows, and no longer', async () => {
    const long = await plane().migrate('one', SLOWLY);
    await plane().reaches(long, 'PRECOPY');
    const hasty = await plane().migrate('two', { policy: { queueTimeoutSeconds: 0 } });
    const patient = await plane().migrate('three', { policy: { queueTimeoutSeconds: 60 } });
    for (const [id, leastMs, mostMs] of [
      [hasty, 0, 1_000],
      [patient, 60_000, 66_000],
    ] as const) {
      const view = await plane().ended(id);
      expect(view).toMatchObject({
        status: 'FAILED',
        failure: { code: 'HostBusy', message: expect.stringContaining('kvm-a has 1 of 1 outgoing slots taken') },
      });
      const tookMs = Date.parse(view.endedAt!) - Date.parse(view.requestedAt);
      expect(tookMs).toBeGreaterThanOrEqual(leastMs);
      expect(tookMs).toBeLessThan(mostMs);
    }
    await plane().cancel(long);
    expect(await plane().ended(long)).toMatchObject({ status: 'CANCELLED' });
    expect(plane().runsOn('one')).toEqual(['kvm-a']);
  });

  it('lets a migration go first whose place in line a lost one would have', async () => {
    const long = await plane().migrate('one', SLOWLY);
    await plane().reaches(long, 'PRECOPY');
    const waiting = await plane().migrate('two');
    await plane().reaches(waiting, 'QUEUED');
    await plane().cancel(long);
    expect(await plane().ended(waiting)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await plane().ended(long)).toMatchObject({ status: 'CANCELLED' });
  });

  it('is told to a migration whose destination is cordoned while it waits', async () => {
    const long = await plane().migrate('one', { ...SLOWLY, destination: 'kvm-c' });
    await plane().reaches(long, 'PRECOPY');
    const waiting = await plane().migrate('two');
    await plane().reaches(waiting, 'QUEUED');
    await plane().http('POST', '/hosts/kvm-b/evacuate');
    expect(await plane().ended(waiting)).toMatchObject({ status: 'FAILED', failure: { code: 'HostNotAccepting' } });
    await plane().cancel(long);
    await plane().ended(long);
  });
});

describe('memory', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-c']);
    await started.register(['kvm-b'], { memoryMiB: 6_144 });
    for (const name of ['one', 'two']) started.fleet.addGuest('kvm-a', { name });
  });

  it('is promised once, though two preflights saw it free at the same time', async () => {
    const ids = await Promise.all(['one', 'two'].map((vm) => plane().migrate(vm)));
    await plane().until('one has its memory', async () =>
      (await plane().listHosts()).some(({ reservedMiB }) => reservedMiB === 4_096),
    );
    const views = [await plane().ended(ids[0]!), await plane().ended(ids[1]!)];
    expect(views.map(({ status }) => status).toSorted()).toEqual(['FAILED', 'SUCCEEDED']);
    const refused = views.find(({ status }) => status === 'FAILED')!;
    expect(refused.failure).toMatchObject({ code: 'MemoryTaken', message: expect.stringContaining('4096 MiB') });
    expect(plane().runsOn(refused.vm)).toEqual(['kvm-a']);
  });

  it('that is promised is not free to the next preflight', async () => {
    const first = await plane().migrate('one', SLOWLY);
    await plane().reaches(first, 'PRECOPY');
    const second = await plane().ended(await plane().migrate('two'));
    expect(second).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    expect(second.checks!.filter(({ passed }) => !passed)).toMatchObject([
      { role: 'destination', name: 'memory', found: expect.stringContaining('4096 MiB'), remedy: expect.any(String) },
    ]);
    await plane().cancel(first);
    await plane().ended(first);
  });
});
