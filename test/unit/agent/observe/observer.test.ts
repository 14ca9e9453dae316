import { describe, expect, it } from 'vitest';
import type { AgentDeps } from '../../../../agent/deps.ts';
import { PROBE_LIMIT_MS } from '../../../../agent/host/probe.ts';
import type { Domain } from '../../../../agent/hypervisor.ts';
import { silentLog } from '../../../../agent/log/log.ts';
import { runObserver } from '../../../../agent/observe/observer.ts';
import { runRequest } from '../../../../agent/run.ts';
import type { Observation } from '../../../../contract/forecast.ts';
import { Policy } from '../../../../contract/policy.ts';
import type { Report } from '../../../../contract/reports.ts';
import { SimulatedMovers } from '../../../../simulator/hosts/movers.ts';
import { libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';

const ADDRESS = '10.1.0.5';
const GUEST = { address: ADDRESS, addressFrom: 'request' };

/** A held copy, and the destination's observation, begun `after` ms after the cutover's task. */
async function moved(
  world: AgentTestEnvironment,
  { after = -500, named = true, answers }: { after?: number; named?: boolean; answers?: boolean } = {},
): Promise<{ source: Observation | undefined; destination: Observation | undefined }> {
  await world.movers.start(world.task('precopy', named ? { guestAddress: ADDRESS } : {}));
  await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  const task = world.task('observe-guest', { role: 'destination', ...(named && { guest: { ...GUEST, answers } }) });
  const observe = () => runRequest(world.give(task), world.deps('destination'));
  const switchNow = () => world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
  const runs: Promise<unknown>[] = [];
  if (after <= 0) runs.push(observe());
  await world.clock.advance(Math.max(0, -after));
  runs.push(switchNow());
  await world.clock.advance(Math.max(0, after));
  if (after > 0) runs.push(observe());
  await world.clock.runUntilIdle();
  await Promise.all(runs);
  return {
    source: blackoutIn(world.reportOf('cutover')),
    destination: blackoutIn(world.reportOf('observe-guest', 'destination')),
  };
}

function blackoutIn(report: Report | undefined): Observation | undefined {
  return report?.kind === 'succeeded' && 'blackout' in report.result ? report.result.blackout : undefined;
}

/** The destination's deps, where its domains answer otherwise. */
function withDomain(world: AgentTestEnvironment, changes: Partial<Domain>): AgentDeps {
  const deps = world.deps('destination');
  return {
    ...deps,
    connect: async (uri) => {
      const connection = await deps.connect(uri);
      const find = connection.find.bind(connection);
      connection.find = async (name) => {
        const domain = await find(name);
        return domain && Object.assign(domain, changes);
      };
      return connection;
    },
  };
}

const unseen = (why: RegExp) => ({ observed: false, why: expect.stringMatching(why) });

describe('a blackout', () => {
  it('is seen alike from both hosts', async () => {
    const { source, destination } = await moved(new AgentTestEnvironment({ address: ADDRESS }));
    for (const seen of [source, destination]) {
      expect(seen).toMatchObject({ observed: true, ...GUEST, elsewhereMs: 0, intervalMs: 10, announcedAgain: false });
    }
    const [here, there] = [source, destination].map((seen) => (seen?.observed ? seen.blackoutMs : Number.NaN));
    // Finish alone takes 20 ms, and each end of the gap may lie anywhere between two questions.
    expect(here).toBeGreaterThanOrEqual(10);
    expect(here).toBeLessThan(200);
    expect(Math.abs(here! - there!)).toBeLessThanOrEqual(20);
  });

  it('is seen at an address that the hosts found themselves', async () => {
    const seen = await moved(new AgentTestEnvironment({ address: ADDRESS }), { named: false });
    const found = { observed: true, address: ADDRESS, addressFrom: 'arp' };
    expect(seen).toMatchObject({ source: found, destination: found });
  });

  it('is not zero but not observed when no address is known', async () => {
    const seen = await moved(new AgentTestEnvironment(), { named: false });
    const why = unseen(/no address of the guest is known/);
    expect(seen).toEqual({ source: why, destination: why });
  });

  it('is not observed when the guest answers nobody, and moving it takes no longer', async () => {
    const world = new AgentTestEnvironment();
    const seen = await moved(world, { answers: false });
    expect(seen).toEqual({ source: unseen(/does not answer/), destination: unseen(/does not answer/) });
    expect(world.destination.copies.get(VM)).not.toHaveProperty('unheard');
    const report = world.reportOf('cutover') as { at: string };
    expect(Date.parse(report.at) - world.destination.mustHave(VM).runningSince).toBeLessThan(100);
  });

  it('is observed by the source of a guest that switches by itself', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS, memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    world.source.faults.set('job', async (proceed) => {
      const job = (await proceed()) as { bytesRemaining: number } | undefined;
      // Never near its end, as far as the brake can tell: it switches unbraked.
      return job && { ...job, bytesRemaining: 400 * 1_048_576, bytesTotal: 500 * 1_048_576 };
    });
    await world.movers.start(world.task('precopy', { guestAddress: ADDRESS }));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    expect(world.reportOf('precopy')).toMatchObject({
      result: { precopy: 'completed', blackout: { observed: true, ...GUEST } },
    });
  });
});

describe('the observation at the destination', () => {
  it('announces a guest again that does not come back, and says so', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    world.source.mustHave(VM).guest.unannounced = true;
    const { source, destination } = await moved(world);
    expect(destination).toMatchObject({ observed: true, announcedAgain: true });
    for (const seen of [source, destination]) {
      expect(seen?.observed && seen.blackoutMs).toBeGreaterThan(2_000);
      expect(seen?.observed && seen.blackoutMs).toBeLessThan(2_300);
    }
  });

  it('tells when announcing again did not help, or could not be done', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    world.source.mustHave(VM).guest.unannounced = true;
    let announce = async () => {};
    const task = world.task('observe-guest', { role: 'destination', guest: GUEST });
    await world.movers.start(world.task('precopy', { guestAddress: ADDRESS }));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    const observing = runObserver(withDomain(world, { announce: () => announce() }), task);
    announce = () => Promise.reject(libvirtError('no monitor'));
    await world.clock.advance(500);
    void world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.clock.runUntilIdle();
    await observing;
    expect(blackoutIn(world.reportOf('observe-guest', 'destination'))).toEqual(
      unseen(/could not be announced again: no monitor/),
    );
    expect(blackoutIn(world.reportOf('cutover'))).toEqual(unseen(/before the switch, and none after/));
  });

  it('says that it began after the switch', async () => {
    const { destination } = await moved(new AgentTestEnvironment({ address: ADDRESS }), { after: 5_000 });
    expect(destination).toEqual(unseen(/ran here already/));
  });

  const SILENT = {};
  const LOST = { address: ADDRESS, unannounced: true };
  it.each([
    // Half a second is too short to know that a guest answers nobody; the source may have looked for longer.
    { what: 'lost, but answered the source', guest: LOST, after: 5_000, answers: true, again: true },
    { what: 'lost, and the source could not tell', guest: LOST, after: 5_000, answers: undefined, again: true },
    { what: 'silent, and the source could not tell', guest: SILENT, after: -500, answers: undefined, again: true },
    { what: 'silent to the source', guest: SILENT, after: -500, answers: false, again: false },
    { what: 'silent to the source, after the switch', guest: SILENT, after: 5_000, answers: false, again: false },
    { what: 'silent here for long enough', guest: SILENT, after: -1_500, answers: true, again: false },
    { what: 'not lost', guest: { address: ADDRESS }, after: 5_000, answers: true, again: false },
  ])('announces a guest again that is $what: $again', async ({ guest, after, answers, again }) => {
    const { address, unannounced = false } = { address: undefined, unannounced: false, ...guest };
    const world = new AgentTestEnvironment(address === undefined ? {} : { address });
    world.source.mustHave(VM).guest.unannounced = unannounced;
    const { destination } = await moved(world, { after, ...(answers !== undefined && { answers }) });
    expect(destination?.observed).toBe(false);
    expect(destination?.announcedAgain ?? false).toBe(again);
    expect(world.destination.mustHave(VM).unheard ?? false).toBe(false);
  });

  /** Dispatched with the pre-copy task, so that it begins before the VM is being received. */
  async function observing(world: AgentTestEnvironment, extra: Record<string, unknown> = {}): Promise<void> {
    const task = world.task('observe-guest', { role: 'destination', guest: GUEST, ...extra });
    expect(await runRequest(world.give(task), world.deps('destination'))).toBe('observer-reports');
  }
  const observation = (world: AgentTestEnvironment) => blackoutIn(world.reportOf('observe-guest', 'destination'));
  const observed = (world: AgentTestEnvironment, limitMs?: number) =>
    world.until(() => observation(world) !== undefined, limitMs);
  const held = async (world: AgentTestEnvironment) => {
    await world.movers.start(world.task('precopy', { guestAddress: ADDRESS }));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  };
  const cutOver = (world: AgentTestEnvironment) => world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);

  it('has its first answers before the guest can switch', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    await observing(world);
    await world.clock.advance(1_000);
    await held(world);
    await cutOver(world);
    await observed(world);
    expect(observation(world)).toMatchObject({ observed: true, ...GUEST, announcedAgain: false });
  });

  it('sees a guest that switches by itself', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS, memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    world.source.faults.set('job', async (proceed) => {
      const job = (await proceed()) as { bytesRemaining: number } | undefined;
      return job && { ...job, bytesRemaining: 400 * 1_048_576, bytesTotal: 500 * 1_048_576 };
    });
    await observing(world);
    await held(world);
    expect(world.reportOf('precopy')).toMatchObject({ result: { precopy: 'completed' } });
    await observed(world);
    expect(observation(world)).toMatchObject({ observed: true, ...GUEST });
  });

  it('sees the switch of a post-copy, and does not wait for the rest of the memory', async () => {
    const world = new AgentTestEnvironment({
      address: ADDRESS,
      memoryMiB: 16_384,
      dirtyMiBps: 3_000,
      workingSetMiB: 12_000,
    });
    await observing(world);
    await world.movers.start(
      world.task('precopy', {
        guestAddress: ADDRESS,
        plan: { method: 'post-copy', postCopyAllowed: true, connections: 1 },
        policy: Policy.parse({ onNonConvergence: 'postcopy' }),
      }),
    );
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    await cutOver(world);
    await observed(world);
    expect(observation(world)).toMatchObject({ observed: true, ...GUEST });
    expect(world.at('destination')).toBe('running (post-copy)');
  });

  it('lasts as long as the copy is held, beyond the life of one probe', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS, dirtyMiBps: 100 });
    await observing(world);
    await held(world);
    await world.clock.advance(1.5 * PROBE_LIMIT_MS);
    expect(observation(world)).toBeUndefined();
    await cutOver(world);
    await observed(world);
    expect(observation(world)).toMatchObject({ observed: true, ...GUEST });
  });

  it('takes an address from its task as soon as the control plane has written one there', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    const { guest: _none, ...task } = world.task('observe-guest', { role: 'destination' });
    world.give(task);
    const unknown = { guestAddresses: () => Promise.reject(libvirtError('no neighbours')) };
    void runObserver(withDomain(world, unknown), task);
    await held(world);
    const item = world.mailbox.tasks.get(task.requestId)!;
    item.task = { ...(item.task as object), guest: GUEST };
    await world.clock.advance(6_000);
    await cutOver(world);
    await observed(world);
    expect(observation(world)).toMatchObject({ observed: true, ...GUEST });
  });

  it('reads its mailbox at most every five seconds, and only while no address is known', async () => {
    const reads = async (guest: object | undefined) => {
      const world = new AgentTestEnvironment();
      let count = 0;
      const readTask = world.mailbox.readTask.bind(world.mailbox);
      world.mailbox.readTask = (requestId) => {
        count++;
        return readTask(requestId);
      };
      await observing(world, { guest });
      await held(world);
      await world.clock.advance(60_000);
      return count;
    };
    expect(await reads(GUEST)).toBe(0);
    expect(await reads(undefined)).toBeGreaterThan(5);
    expect(await reads(undefined)).toBeLessThan(20);
  });

  it.each([
    { mailbox: 'says by then that it is silent', again: false },
    { mailbox: 'does not answer', again: true },
  ])('announces a guest that it came too late to observe, where its mailbox $mailbox: $again', async ({ again }) => {
    const world = new AgentTestEnvironment();
    await held(world);
    const task = world.task('observe-guest', { role: 'destination', guest: GUEST });
    world.give({ ...task, guest: { ...task.guest!, answers: false } });
    if (again) world.mailbox.readTask = () => new Promise(() => {});
    await cutOver(world);
    await world.until(() => world.at('destination').startsWith('running'));
    await world.clock.advance(5_000);
    void runObserver(world.deps('destination'), task);
    await observed(world);
    expect(observation(world)?.announcedAgain ?? false).toBe(again);
  });

  it('does not wait for ever', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS, dirtyMiBps: 100 });
    await observing(world, { limitSeconds: 300 });
    await held(world);
    await observed(world, 301_000);
    expect(observation(world)).toEqual(unseen(/not switched within 300 s/));
  });

  it('ends when the handover is called off', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    world.mailbox.onCommit = async () => 'revoked';
    expect((await moved(world)).destination).toEqual(unseen(/not switched to this host/));
  });

  it('ends with the copy when the mover is killed', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    await observing(world);
    await held(world);
    await world.movers.fence(MIGRATION);
    await observed(world, 60_000);
    expect(observation(world)).toEqual(unseen(/not switched to this host/));
  });

  it('ends where the VM never arrives', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    await observing(world);
    await observed(world, 121_000);
    expect(observation(world)).toEqual(unseen(/not being received here within 120 s/));
  });

  it('is reported by one observer, however often its task is delivered', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    const requestId = world.give(world.task('observe-guest', { role: 'destination', guest: GUEST }));
    const outcomes = [1, 2].map(() => runRequest(requestId, world.deps('destination')));
    expect((await Promise.all(outcomes)).toSorted()).toEqual(['claimed-before', 'observer-reports']);
  });
});

it('a killed mover leaves no probe behind', async () => {
  const world = new AgentTestEnvironment({ address: ADDRESS, memoryMiB: 512 });
  const asking = new Set<object>();
  const { mailbox, clock, connect, localUri, facts } = world.deps();
  const counted = {
    ...facts,
    probe: (address: string) => {
      const probe = facts.probe(address);
      asking.add(probe);
      const stop = () => {
        asking.delete(probe);
        return probe.stop();
      };
      return { ...probe, stop };
    },
  };
  const movers = new SimulatedMovers({ mailbox, clock, connect, localUri, facts: counted, log: silentLog });
  await movers.start(world.task('precopy', { guestAddress: ADDRESS }));
  await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  expect(asking.size).toBe(1);
  await movers.fence(MIGRATION);
  expect(asking.size).toBe(0);
});
