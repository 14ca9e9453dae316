import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { ResultOf } from '../../../../contract/reports.ts';
import { VM, World } from '../world.ts';
import { failedOf, result, toDestination } from './run-stage.ts';

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

  it('counts memory that is reserved for others', async () => {
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
