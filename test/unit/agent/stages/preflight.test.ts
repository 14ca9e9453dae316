import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { ResultOf } from '../../../../contract/reports.ts';
import { AgentTestEnvironment, VM } from '../agent-test-environment.ts';
import { failedOf, result, toDestination } from './run-stage.ts';

/** Both preflights at the same time, as the control plane runs them. */
async function preflight(environment: AgentTestEnvironment) {
  const tasks = [environment.task('preflight'), environment.task('preflight', toDestination)] as const;
  const runs = tasks.map((task) => runRequest(environment.give(task), environment.deps(task.role)));
  await environment.clock.runUntilIdle();
  await Promise.all(runs);
  return tasks.map((task) => {
    const said = environment.reportOf('preflight', task.role);
    expect(said, JSON.stringify(said)).toMatchObject({ kind: 'succeeded' });
    return (said as { result: ResultOf<'preflight'> }).result;
  }) as [ResultOf<'preflight'>, ResultOf<'preflight'>];
}

describe('preflight', () => {
  it('passes where all is well, and states the facts', async () => {
    const environment = new AgentTestEnvironment();
    const [source, destination] = await preflight(environment);

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
    const environment = new AgentTestEnvironment();
    environment.source.copies.delete(VM);
    const [source, destination] = await preflight(environment);

    expect(failedOf(source.checks)).toEqual(['domain-exists', 'domain-running', 'no-other-job', 'devices']);
    expect(failedOf(destination.checks)).toEqual(['emulator', 'machine-type', 'cpu', 'memory']);
    expect(destination.checks.find(({ name }) => name === 'memory')?.found).toContain(`no VM "${VM}"`);
  });

  it('finds an unreachable destination', async () => {
    const environment = new AgentTestEnvironment();
    environment.destination.becomeUnreachable();
    expect(failedOf((await result(environment, 'preflight')).checks)).toEqual([
      'destination-reachable',
      'hosts-differ',
      'link',
    ]);
  });

  it('finds source and destination to be one host', async () => {
    const environment = new AgentTestEnvironment();
    const { checks } = await result(environment, 'preflight', { destination: { ...environment.source.spec } });
    expect(failedOf(checks)).toContain('hosts-differ');
  });

  it('counts memory that is reserved for others', async () => {
    const environment = new AgentTestEnvironment();
    const { checks } = await result(environment, 'preflight', { ...toDestination, reservedMiB: 260_000 });
    expect(failedOf(checks)).toEqual(['memory']);
  });

  it('finds a VM of the same name on the destination', async () => {
    const environment = new AgentTestEnvironment();
    environment.fleet.addGuest('kvm-b', { name: VM });
    expect(failedOf((await result(environment, 'preflight', toDestination)).checks)).toContain('no-such-domain-yet');
  });

  describe('of a disk in a file', () => {
    const file = "<disk type='file' device='disk'><source file='/srv/images/web01.qcow2'/><target dev='vda'/></disk>";
    /** The guest as it is, but with its disk in a file. */
    async function preflightFile(
      environment: AgentTestEnvironment,
      types: { source: string; destination: string },
      shared: boolean,
    ) {
      const tasks = [environment.task('preflight'), environment.task('preflight', toDestination)] as const;
      const own = new Set<string>();
      const runs = tasks.map((task) => {
        const deps = environment.deps(task.role);
        const files = shared || task.role === 'source' ? environment.fleet.sharedFiles : own;
        return runRequest(environment.give(task), {
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
      await environment.clock.runUntilIdle();
      await Promise.all(runs);
      return tasks.map(({ role }) => {
        const said = environment.reportOf('preflight', role) as { result: ResultOf<'preflight'> };
        return said.result.checks.find(({ name }) => name === 'disk:vda')!;
      });
    }

    it('passes when both hosts see the same directory, and leaves nothing there', async () => {
      const environment = new AgentTestEnvironment();
      const checks = await preflightFile(environment, { source: 'nfs4', destination: 'nfs4' }, true);
      expect(checks).toMatchObject([{ passed: true }, { passed: true }]);
      expect(environment.fleet.sharedFiles.size).toBe(0);
    });

    it('fails when the directories only have the same name, and leaves nothing there', async () => {
      const environment = new AgentTestEnvironment();
      const checks = await preflightFile(environment, { source: 'nfs4', destination: 'nfs4' }, false);
      expect(checks).toMatchObject([{ passed: false }, { passed: false }]);
      expect(environment.fleet.sharedFiles.size).toBe(0);
    });

    it('refuses a local file system by its name', async () => {
      const environment = new AgentTestEnvironment();
      const checks = await preflightFile(environment, { source: 'ext4', destination: 'xfs' }, false);
      expect(checks).toMatchObject([
        { passed: false, found: expect.stringContaining('ext4') },
        { passed: false, found: expect.stringContaining('xfs') },
      ]);
    });
  });
});
