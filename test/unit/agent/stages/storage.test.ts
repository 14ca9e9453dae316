import { describe, expect, it } from 'vitest';
import type { AgentDeps } from '../../../../agent/deps.ts';
import { makeImages, markOf } from '../../../../agent/migrated-storage/images.ts';
import { runRequest } from '../../../../agent/run.ts';
import type { CopyState } from '../../../../contract/facts.ts';
import type { MigratedDisk } from '../../../../contract/migrated-storage.ts';
import type { StageName } from '../../../../contract/names.ts';
import { Policy } from '../../../../contract/policy.ts';
import type { Report, ResultOf } from '../../../../contract/reports.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';

const PATH = '/images/web01.qcow2';
const DISK: MigratedDisk = {
  target: 'vda',
  path: PATH,
  format: 'qcow2',
  capacityBytes: 1024 ** 3,
  allocatedBytes: 512 * 1024 ** 2,
};
const MARK = markOf(MIGRATION, DISK);
const onDestination = { role: 'destination', disks: [DISK] };

async function report(
  environment: AgentTestEnvironment,
  stage: StageName,
  extra: Record<string, unknown>,
  attempt = 1,
): Promise<Report> {
  const task = environment.task(stage, extra, attempt);
  const run = runRequest(environment.give(task), environment.deps(task.role));
  await environment.clock.runUntilIdle();
  await run;
  return environment.reportOf(stage, task.role, attempt)!;
}
const names = (environment: AgentTestEnvironment) => [...environment.images.destination.files.keys()].sort();

describe('the storage stage', () => {
  it('makes the images, marked', async () => {
    const environment = new AgentTestEnvironment();
    expect(await report(environment, 'storage', onDestination)).toMatchObject({
      result: { stage: 'storage', made: [PATH] },
    });
    expect(names(environment)).toEqual([MARK, PATH].sort());
  });

  it('refuses where a file is in the way, and leaves it', async () => {
    const environment = new AgentTestEnvironment();
    await environment.images.destination.create(PATH);
    expect(await report(environment, 'storage', onDestination)).toMatchObject({
      kind: 'failed',
      failure: { code: 'StorageFailed', message: expect.stringContaining(PATH) },
    });
    expect(names(environment)).toEqual([PATH]);
  });

  it('leaves nothing where it comes too late to be known of', async () => {
    const environment = new AgentTestEnvironment();
    const create = environment.images.destination.create.bind(environment.images.destination);
    environment.images.destination.create = async (path) => {
      await create(path);
      await environment.clock.sleep(61_000);
    };
    expect(await report(environment, 'storage', onDestination)).toMatchObject({ failure: { code: 'TaskExpired' } });
    expect(names(environment)).toEqual([]);
  });
});

describe('recovery', () => {
  async function withImages(): Promise<AgentTestEnvironment> {
    const environment = new AgentTestEnvironment();
    await makeImages(environment.images.destination, MIGRATION, [DISK]);
    return environment;
  }
  const abort = (environment: AgentTestEnvironment, action: string, attempt = 1) =>
    report(environment, 'abort', { ...onDestination, action }, attempt);

  it('is told of images that were made, and of nothing where none were', async () => {
    const seen = async (environment: AgentTestEnvironment) => {
      const said = await report(environment, 'inspect', { ...onDestination, fence: false });
      return (said as unknown as { result: ResultOf<'inspect'> }).result.evidence;
    };
    expect(await seen(await withImages())).toMatchObject({ state: 'absent', madeImages: [PATH] });
    expect(await seen(new AgentTestEnvironment())).not.toHaveProperty('madeImages');
  });

  const inspect = { ...onDestination, fence: false };

  it('has a storage order that was not begun never begun', async () => {
    const environment = new AgentTestEnvironment();
    const late = environment.give(environment.task('storage', onDestination));
    await report(environment, 'inspect', inspect);
    expect(await runRequest(late, environment.deps('destination'))).toBe('claimed-before');
    expect(names(environment)).toEqual([]);
  });

  it('waits for one that is under way, and sees what it made', async () => {
    const environment = new AgentTestEnvironment();
    const create = environment.images.destination.create.bind(environment.images.destination);
    environment.images.destination.create = async (path) => {
      await environment.clock.sleep(10_000);
      await create(path);
    };
    const making = runRequest(
      environment.give(environment.task('storage', onDestination)),
      environment.deps('destination'),
    );
    const looking = runRequest(environment.give(environment.task('inspect', inspect)), environment.deps('destination'));
    await environment.clock.advance(9_000);
    expect(environment.reportOf('inspect', 'destination')).toBeUndefined();
    await environment.clock.runUntilIdle();
    await Promise.all([making, looking]);
    expect(environment.reportOf('inspect', 'destination')).toMatchObject({
      result: { evidence: { madeImages: [PATH] } },
    });
  });

  it('does not wait for one that died, once its time is over', async () => {
    const environment = new AgentTestEnvironment();
    const died = environment.give(environment.task('storage', onDestination));
    await environment.mailbox.claim(died);
    await report(environment, 'inspect', inspect);
    expect(environment.reportOf('inspect', 'destination')).toMatchObject({ kind: 'succeeded' });
    expect(environment.clock.now()).toBeLessThan(Date.parse(environment.task('storage').issuedAt) + 61_000);
  });

  it.each([
    ['remove-images', []],
    ['keep-images', [PATH]],
  ])('%s, as often as it asks', async (action, left) => {
    const environment = await withImages();
    expect(await abort(environment, action)).toMatchObject({ kind: 'succeeded' });
    expect(await abort(environment, action, 2)).toMatchObject({ kind: 'succeeded' });
    expect(names(environment)).toEqual(left);
  });

  it.each([
    ['running', 'running (migrated)'],
    ['paused', 'paused (user)'],
    ['incoming', 'paused (migrating)'],
    ['migrating-paused', 'paused (migrating)'],
    ['postcopy-failed', 'paused (post-copy failed)'],
  ] satisfies [CopyState, string][])('removes no image of a VM that is %s here', async (state, detail) => {
    const environment = await withImages();
    environment.fleet.addGuest('kvm-b', { name: VM });
    Object.assign(environment.destination.mustHave(VM), { state, detail });
    expect(await abort(environment, 'remove-images')).toMatchObject({ failure: { code: 'NeedsOperator' } });
    expect(names(environment)).toEqual([MARK, PATH].sort());
  });
});

describe('verify', () => {
  it('leaves the images to the VM once it is seen to run here', async () => {
    const environment = new AgentTestEnvironment();
    await makeImages(environment.images.destination, MIGRATION, [DISK]);
    expect(await report(environment, 'verify', onDestination), 'no VM here').toMatchObject({ kind: 'succeeded' });
    expect(names(environment)).toEqual([MARK, PATH].sort());

    environment.fleet.addGuest('kvm-b', { name: VM });
    const { result } = (await report(environment, 'verify', onDestination, 2)) as { result: ResultOf<'verify'> };
    expect(result.checks).toContainEqual({ name: 'images', passed: true, found: expect.stringContaining(PATH) });
    expect(names(environment)).toEqual([PATH]);
  });
});

describe('preflight of a disk in a file of one host alone', () => {
  const xmlOfDisk = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${PATH}'/><target dev='vda'/></disk>`;
  /** The hosts as they are, but with the guest's disk in a file. */
  function altered(deps: AgentDeps, fileSystem: string | undefined): AgentDeps {
    return {
      ...deps,
      facts: { ...deps.facts, fileSystemType: async () => fileSystem },
      connect: async (uri) => {
        const connection = await deps.connect(uri);
        const find = connection.find.bind(connection);
        connection.find = async (name) => {
          const domain = await find(name);
          if (domain === undefined) return undefined;
          const xml = await domain.xml();
          domain.xml = async () => xml.replace(/<disk[\s\S]*<\/disk>/, xmlOfDisk);
          let writtenBytes = 0;
          domain.diskSizes = async () => {
            writtenBytes += 5_000_000;
            return [
              { target: 'vda', capacityBytes: DISK.capacityBytes, allocatedBytes: DISK.allocatedBytes, writtenBytes },
            ];
          };
          return domain;
        };
        return connection;
      },
    };
  }

  async function preflight(environment: AgentTestEnvironment, policy: Partial<Policy>, { directory = true } = {}) {
    const tasks = (['source', 'destination'] as const).map((role) =>
      environment.task('preflight', { role, policy: Policy.parse(policy) }),
    );
    const runs = tasks.map((task) =>
      runRequest(
        environment.give(task),
        altered(environment.deps(task.role), task.role === 'source' ? 'ext4' : directory ? 'xfs' : undefined),
      ),
    );
    await environment.clock.runUntilIdle();
    await Promise.all(runs);
    const [source, destination] = tasks.map(
      ({ role }) => (environment.reportOf('preflight', role) as { result: ResultOf<'preflight'> }).result,
    );
    const failed = [...source!.checks, ...destination!.checks].filter(({ passed }) => !passed);
    return { source: source!, destination: destination!, failed };
  }

  it('refuses it where the policy does not say so, and says what would help', async () => {
    const { source, failed } = await preflight(new AgentTestEnvironment(), {});
    expect(failed.map(({ name }) => name)).toEqual(['disk:vda', 'disk:vda']);
    for (const { remedy } of failed) expect(remedy).toContain('migrateStorage');
    expect(source.measured).not.toHaveProperty('disks');
  });

  it('says what will be copied, and plans it', async () => {
    const { source, failed } = await preflight(new AgentTestEnvironment(), { migrateStorage: true });
    expect(failed).toEqual([]);
    expect(source.checks.find(({ name }) => name === 'disk:vda')?.found).toContain(
      `${PATH} (qcow2, 1024 MiB, of which 512 MiB in use)`,
    );
    expect(source.forecast?.plan.disks).toEqual([DISK]);
    // 5 MB between two looks a second apart; a call takes a moment itself.
    expect(source.measured?.diskWriteBytesPerSecond).toBeGreaterThan(4_900_000);
    expect(source.measured?.diskWriteBytesPerSecond).toBeLessThanOrEqual(5_000_000);
  });

  it('refuses to write over an image', async () => {
    const environment = new AgentTestEnvironment();
    await environment.images.destination.create(PATH);
    const { failed } = await preflight(environment, { migrateStorage: true });
    expect(failed).toMatchObject([{ name: 'disk:vda', found: expect.stringContaining(`${PATH} is there already`) }]);
  });

  it('refuses where there is no room, no directory or no qemu-img', async () => {
    const full = new AgentTestEnvironment();
    full.images.destination.availableBytes = DISK.allocatedBytes - 1;
    expect((await preflight(full, { migrateStorage: true })).failed).toMatchObject([{ name: 'storage-room' }]);

    const { failed } = await preflight(new AgentTestEnvironment(), { migrateStorage: true }, { directory: false });
    expect(failed).toMatchObject([{ name: 'disk:vda', found: 'there is no /images here for the copy of the disk' }]);

    const bare = new AgentTestEnvironment();
    bare.images.destination.mustMakeImages = () => Promise.reject(new Error('spawn qemu-img ENOENT'));
    expect((await preflight(bare, { migrateStorage: true })).failed).toMatchObject([
      { name: 'storage-room', remedy: expect.stringContaining('qemu-utils') },
    ]);
  });

  it('refuses post-copy with it', async () => {
    const { failed } = await preflight(new AgentTestEnvironment(), {
      migrateStorage: true,
      onNonConvergence: 'postcopy',
    });
    expect(failed).toMatchObject([{ name: 'policy', found: expect.stringContaining('post-copy') }]);
  });
});
