import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { Check, CopyState } from '../../../../contract/facts.ts';
import type { StageName } from '../../../../contract/names.ts';
import type { Report, ResultOf } from '../../../../contract/reports.ts';
import { connect } from '../../../../simulator/hypervisor/connection.ts';
import { MIGRATION, VM, World } from '../world.ts';

type Extra = Record<string, unknown>;

async function report(world: World, stage: StageName, extra: Extra = {}, attempt = 1): Promise<Report> {
  const task = world.task(stage, extra, attempt);
  const run = runRequest(world.give(task), world.deps(task.role));
  await world.clock.runUntilIdle();
  await run;
  return world.reportOf(stage, task.role, attempt)!;
}

async function result<S extends StageName>(
  world: World,
  stage: S,
  extra: Extra = {},
  attempt = 1,
): Promise<ResultOf<S>> {
  const said = await report(world, stage, extra, attempt);
  expect(said, JSON.stringify(said)).toMatchObject({ kind: 'succeeded' });
  return (said as unknown as { result: ResultOf<S> }).result;
}

const failedOf = (checks: readonly Check[]) => checks.filter(({ passed }) => !passed).map(({ name }) => name);
const toDestination = { role: 'destination' };

/** Both preflights at the same time, as the control plane runs them. */
async function preflight(world: World) {
  const tasks = [world.task('preflight'), world.task('preflight', toDestination)] as const;
  const runs = tasks.map((task) => runRequest(world.give(task), world.deps(task.role)));
  await world.clock.runUntilIdle();
  await Promise.all(runs);
  return tasks.map((task) => {
    const said = world.reportOf('preflight', task.role);
    expect(said, JSON.stringify(said)).toMatchObject({ kind: 'succeeded' });
    return (said as { result: ResultOf<'preflight'> }).result;
  }) as [ResultOf<'preflight'>, ResultOf<'preflight'>];
}

describe('preflight', () => {
  it('passes where all is well, and states the facts', async () => {
    const world = new World();
    const [source, destination] = await preflight(world);

    expect(failedOf([...source.checks, ...destination.checks])).toEqual([]);
    expect(source.checks.map(({ name }) => name)).toEqual([
      'domain-exists',
      'domain-running',
      'no-other-job',
      'devices',
      'destination-reachable',
      'hosts-differ',
      'link',
      'dirty-rate',
      'disk:vda',
      'policy',
    ]);
    expect(destination.checks.map(({ name }) => name)).toEqual([
      'source-reachable',
      'versions',
      'emulator',
      'machine-type',
      'cpu',
      'memory',
      'no-such-domain-yet',
      'network:br0',
      'disk:vda',
    ]);
    expect(source.guest).toMatchObject({
      memoryMiB: 4_096,
      vcpus: 2,
      persistent: true,
      disks: ['vda'],
      networks: ['br0'],
    });
    expect(source.roundTripMs).toBe(0.2);
    expect(destination.freeMemoryMiB).toBe(262_144);
  });

  it('fails every check that needs the VM when there is none, and runs the others', async () => {
    const world = new World();
    world.source.copies.delete(VM);
    const [source, destination] = await preflight(world);

    expect(failedOf(source.checks)).toEqual(['domain-exists', 'domain-running', 'no-other-job', 'devices']);
    expect(failedOf(destination.checks)).toEqual(['emulator', 'machine-type', 'cpu', 'memory']);
    expect(destination.checks.find(({ name }) => name === 'memory')?.found).toContain(`no VM "${VM}"`);
  });

  it('finds an unreachable destination', async () => {
    const world = new World();
    world.destination.becomeUnreachable();
    expect(failedOf((await result(world, 'preflight')).checks)).toEqual([
      'destination-reachable',
      'hosts-differ',
      'link',
    ]);
  });

  it('finds source and destination to be one host', async () => {
    const world = new World();
    const { checks } = await result(world, 'preflight', { destination: { ...world.source.spec } });
    expect(failedOf(checks)).toContain('hosts-differ');
  });

  it('counts memory that is promised to others', async () => {
    const world = new World();
    const { checks } = await result(world, 'preflight', { ...toDestination, reservedMiB: 260_000 });
    expect(failedOf(checks)).toEqual(['memory']);
  });

  it('finds a VM of the same name on the destination', async () => {
    const world = new World();
    world.fleet.addGuest('kvm-b', { name: VM });
    expect(failedOf((await result(world, 'preflight', toDestination)).checks)).toContain('no-such-domain-yet');
  });

  describe('of a disk in a file', () => {
    const file = "<disk type='file' device='disk'><source file='/srv/images/web01.qcow2'/><target dev='vda'/></disk>";
    /** The guest as it is, but with its disk in a file. */
    async function preflightFile(world: World, types: { source: string; destination: string }, shared: boolean) {
      const tasks = [world.task('preflight'), world.task('preflight', toDestination)] as const;
      const own = new Set<string>();
      const runs = tasks.map((task) => {
        const deps = world.deps(task.role);
        const files = shared || task.role === 'source' ? world.fleet.sharedFiles : own;
        return runRequest(world.give(task), {
          ...deps,
          facts: {
            ...deps.facts,
            fileSystemType: async () => types[task.role],
            list: async () => [...files].map((path) => path.slice('/srv/images/'.length)),
          },
          connect: async (uri) => {
            const connection = await deps.connect(uri);
            const find = connection.find.bind(connection);
            connection.find = async (name) => {
              const domain = await find(name);
              if (domain === undefined) return undefined;
              const xml = await domain.xml();
              domain.xml = async () => xml.replace(/<disk[\s\S]*<\/disk>/, file);
              return domain;
            };
            return connection;
          },
        });
      });
      await world.clock.runUntilIdle();
      await Promise.all(runs);
      return tasks.map(({ role }) => {
        const said = world.reportOf('preflight', role) as { result: ResultOf<'preflight'> };
        return said.result.checks.find(({ name }) => name === 'disk:vda')!;
      });
    }

    it('passes when both hosts see the same directory, and leaves nothing there', async () => {
      const world = new World();
      const checks = await preflightFile(world, { source: 'nfs4', destination: 'nfs4' }, true);
      expect(checks).toMatchObject([{ passed: true }, { passed: true }]);
      expect(world.fleet.sharedFiles.size).toBe(0);
    });

    it('fails when the directories only have the same name, and leaves nothing there', async () => {
      const world = new World();
      const checks = await preflightFile(world, { source: 'nfs4', destination: 'nfs4' }, false);
      expect(checks).toMatchObject([{ passed: false }, { passed: false }]);
      expect(world.fleet.sharedFiles.size).toBe(0);
    });

    it('refuses a local file system by its name', async () => {
      const world = new World();
      const checks = await preflightFile(world, { source: 'ext4', destination: 'xfs' }, false);
      expect(checks).toMatchObject([
        { passed: false, found: expect.stringContaining('ext4') },
        { passed: false, found: expect.stringContaining('xfs') },
      ]);
    });
  });
});

describe('inspect', () => {
  it('lists all VMs when none is named', async () => {
    const world = new World();
    world.fleet.addGuest('kvm-a', { name: 'db01' });
    const { domains } = await result(world, 'inspect', { vm: undefined, fence: false });
    expect(domains?.map(({ name, state }) => [name, state])).toEqual([
      [VM, 'running'],
      ['db01', 'running'],
    ]);
  });

  it('proves a VM absent', async () => {
    const { evidence } = await result(new World(), 'inspect', { ...toDestination, fence: false });
    expect(evidence).toEqual({ state: 'absent', detail: 'no such domain', jobActive: false, mover: 'not-asked' });
  });

  it('kills the mover first when asked, and waits until its job is gone', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    const { evidence } = await result(world, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ state: 'running', jobActive: false, mover: 'killed' });
    expect((await result(world, 'inspect', { fence: true }, 2)).evidence?.mover).toBe('none');
  });

  it('says so when a job does not go away', async () => {
    const world = new World();
    const connection = await connect(world.fleet, 'kvm-a', 'qemu:///system');
    void connection.find(VM).then((domain) => domain?.begin({ name: VM, persistent: true }));
    const { evidence } = await result(world, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ jobActive: true, mover: 'none' });
  });

  it('gives no evidence when libvirt does not answer', async () => {
    const world = new World();
    world.source.faults.set('connect', () => Promise.reject(new Error('no socket')));
    expect(await report(world, 'inspect', { fence: false })).toMatchObject({
      failure: { code: 'HypervisorUnreachable' },
    });
  });
});

describe('abort', () => {
  type State = CopyState;
  function given(state: State): World {
    const world = new World();
    const copy = world.source.copies.get(VM)!;
    if (state === 'absent') world.source.copies.delete(VM);
    else Object.assign(copy, { state, detail: state });
    return world;
  }

  it.each([
    ['resume', 'migrating-paused', 'running'],
    ['resume', 'running', 'running'],
    ['remove-paused-copy', 'migrating-paused', 'absent'],
    ['remove-paused-copy', 'shutoff', 'absent'],
    ['remove-paused-copy', 'absent', 'absent'],
    ['destroy-incoming', 'incoming', 'absent'],
    ['destroy-incoming', 'absent', 'absent'],
    ['destroy-incoming', 'shutoff', 'shutoff'],
  ] as const)('%s of a VM that is %s leaves it %s', async (action, from, to) => {
    const { evidence } = await result(given(from), 'abort', { action });
    expect(evidence.state).toBe(to);
  });

  it.each([
    ['resume', 'paused'],
    ['resume', 'incoming'],
    ['resume', 'absent'],
    ['resume', 'shutoff'],
    ['remove-paused-copy', 'running'],
    ['remove-paused-copy', 'paused'],
    ['remove-paused-copy', 'incoming'],
    ['destroy-incoming', 'running'],
    ['destroy-incoming', 'paused'],
    ['destroy-incoming', 'migrating-paused'],
    // Half of a VM is needed by the other half.
    ['resume', 'postcopy-paused'],
    ['resume', 'postcopy-failed'],
    ['remove-paused-copy', 'postcopy-paused'],
    ['remove-paused-copy', 'postcopy-failed'],
    ['destroy-incoming', 'postcopy-running'],
    ['destroy-incoming', 'postcopy-failed'],
    ['resume-postcopy', 'running'],
    ['resume-postcopy', 'migrating-paused'],
    ['resume-postcopy', 'postcopy-paused'],
    ['resume-postcopy', 'postcopy-running'],
  ] as const)('%s of a VM that is %s is refused, and touches nothing', async (action, state) => {
    const world = given(state);
    expect(await report(world, 'abort', { action })).toMatchObject({
      kind: 'failed',
      failure: { code: 'NeedsOperator' },
    });
    expect(world.source.copies.get(VM)?.state ?? 'absent').toBe(state);
  });

  it('does not resume what libvirt still has a job on', async () => {
    const world = new World();
    world.mailbox.onCommit = () => new Promise(() => {});
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(10_000);
    await world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.until(() => world.at('source') === 'paused (migrating)');
    const task = world.task('abort', { action: 'resume' });
    const run = runRequest(world.give(task), world.deps());
    await world.clock.advance(1_000);
    await run;
    expect(world.reportOf('abort')).toMatchObject({
      failure: { code: 'NeedsOperator', message: expect.stringContaining('job') },
    });
  });
});

describe('verify', () => {
  async function moved(guest: { address?: string } = {}): Promise<World> {
    const world = new World(guest);
    await move(world);
    return world;
  }

  async function move(world: World): Promise<void> {
    await world.movers.start(world.task('precopy'));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    await world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.until(() => world.reportOf('cutover')?.kind === 'succeeded');
  }

  it('finds the VM running on the destination and gone from the source, which may take the mover a moment', async () => {
    const world = await moved();
    expect(world.at('source')).toBe('paused (migrating)');
    expect((await result(world, 'verify')).checks).toMatchObject([{ name: 'gone', passed: true }]);
    const { checks } = await result(world, 'verify', toDestination);
    expect(checks.map(({ name, passed }) => [name, passed])).toEqual([
      ['running', true],
      ['vcpu-advancing', true],
      ['disks', true],
      ['network:br0', true],
    ]);
  });

  it('fails on a source that keeps its copy', async () => {
    const world = new World();
    // The mover dies right before it would have the copy removed.
    world.source.faults.set('confirm', () => new Promise(() => {}));
    await move(world);
    await world.movers.fence(MIGRATION);
    expect((await result(world, 'verify')).checks).toMatchObject([
      { name: 'gone', passed: false, found: expect.stringContaining('paused (migrating)') },
    ]);
  });

  it.each([
    ['192.0.2.7', true],
    ['192.0.2.8', false],
  ])('looks for the guest where it should answer: %s', async (guestAddress, passed) => {
    const world = await moved({ address: '192.0.2.7' });
    const { checks } = await result(world, 'verify', { ...toDestination, guestAddress });
    expect(checks.find(({ name }) => name === 'reachable')?.passed).toBe(passed);
  });

  it('fails on a VM that is there but does not run', async () => {
    const world = await moved();
    Object.assign(world.destination.copies.get(VM)!, { state: 'paused', detail: 'paused (I/O error)' });
    expect(failedOf((await result(world, 'verify', toDestination)).checks)).toEqual(['running', 'vcpu-advancing']);
  });

  it('fails on a tap that hangs elsewhere', async () => {
    const world = await moved();
    const task = world.task('verify', toDestination);
    const deps = world.deps('destination');
    const run = runRequest(world.give(task), { ...deps, facts: { ...deps.facts, masterOf: async () => 'br9' } });
    await world.clock.runUntilIdle();
    await run;
    const said = world.reportOf('verify', 'destination') as { result: ResultOf<'verify'> };
    expect(failedOf(said.result.checks)).toEqual(['network:br0']);
  });
});
