import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../../agent/log/log.ts';
import { runRequest } from '../../../../agent/run.ts';
import type { Observation } from '../../../../contract/forecast.ts';
import type { Report } from '../../../../contract/reports.ts';
import { SimulatedMovers } from '../../../../simulator/hosts/movers.ts';
import { libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';

const ADDRESS = '10.1.0.5';
const GUEST = { address: ADDRESS, addressFrom: 'request' };

/** A held copy, and the destination's watch, begun `after` ms after the cutover's task. */
async function moved(
  world: AgentTestEnvironment,
  { after = -500, named = true, answers }: { after?: number; named?: boolean; answers?: boolean } = {},
): Promise<{ source: Observation | undefined; destination: Observation | undefined }> {
  await world.movers.start(world.task('precopy', named ? { guestAddress: ADDRESS } : {}));
  await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  const task = world.task('observe-guest', { role: 'destination', ...(named && { guest: { ...GUEST, answers } }) });
  const watch = () => runRequest(world.give(task), world.deps('destination'));
  const switchNow = () => world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
  const runs: Promise<unknown>[] = [];
  if (after <= 0) runs.push(watch());
  await world.clock.advance(Math.max(0, -after));
  runs.push(switchNow());
  await world.clock.advance(Math.max(0, after));
  if (after > 0) runs.push(watch());
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

describe('the watch at the destination', () => {
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
    const deps = world.deps('destination');
    const connect = deps.connect.bind(deps);
    let announce = async () => {};
    const task = world.task('observe-guest', { role: 'destination', guest: GUEST });
    await world.movers.start(world.task('precopy', { guestAddress: ADDRESS }));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    const watch = runRequest(world.give(task), {
      ...deps,
      connect: async (uri) => {
        const connection = await connect(uri);
        const find = connection.find.bind(connection);
        connection.find = async (name) => {
          const domain = await find(name);
          return domain && Object.assign(domain, { announce: () => announce() });
        };
        return connection;
      },
    });
    announce = () => Promise.reject(libvirtError('no monitor'));
    await world.clock.advance(500);
    void world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.clock.runUntilIdle();
    await watch;
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

  it('does not wait for ever', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    await world.movers.start(world.task('precopy'));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    void runRequest(
      world.give(world.task('observe-guest', { role: 'destination', guest: GUEST })),
      world.deps('destination'),
    );
    await world.until(() => world.reportOf('observe-guest', 'destination') !== undefined, 61_000);
    expect(blackoutIn(world.reportOf('observe-guest', 'destination'))).toEqual(unseen(/not switched within 60 s/));
  });

  it('ends when the handover is called off', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    world.mailbox.onCommit = async () => 'revoked';
    expect((await moved(world)).destination).toEqual(unseen(/not switched to this host/));
  });

  it('finds nothing to look at where the VM is not being received', async () => {
    const world = new AgentTestEnvironment({ address: ADDRESS });
    const task = world.task('observe-guest', { role: 'destination', guest: GUEST });
    const run = runRequest(world.give(task), world.deps('destination'));
    await world.clock.runUntilIdle();
    await run;
    expect(blackoutIn(world.reportOf('observe-guest', 'destination'))).toEqual(unseen(/not being received here/));
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
