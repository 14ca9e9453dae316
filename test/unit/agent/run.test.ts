import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../agent/run.ts';
import { MIGRATION, World } from './world.ts';

const inspectId = `${MIGRATION}.inspect.source.1`;
const code = (world: World, stage: 'inspect' | 'cutover' = 'inspect') => {
  const report = world.reportOf(stage);
  return report?.kind === 'failed' ? report.failure.code : report?.kind;
};

async function run(world: World, requestId: string) {
  const outcome = runRequest(requestId, world.deps());
  outcome.catch(() => {});
  await world.clock.runUntilIdle();
  return outcome;
}

describe('an order', () => {
  it('is claimed, carried out and reported', async () => {
    const world = new World();
    const id = world.give(world.task('inspect', { fence: false }));

    expect(await run(world, id)).toBe('reported');
    expect(world.mailbox.tasks.get(id)?.claimed).toBe(true);
    expect(world.reportOf('inspect')).toMatchObject({
      kind: 'succeeded',
      requestId: id,
      result: {
        stage: 'inspect',
        evidence: { state: 'running', detail: 'running (booted)', jobActive: false, mover: 'not-asked' },
      },
    });
  });

  it('that is delivered twice is carried out once, also when both come at the same time', async () => {
    const world = new World();
    const id = world.give(world.task('precopy'));
    const runs = [runRequest(id, world.deps()), runRequest(id, world.deps())];
    await world.clock.advance(10);

    expect((await Promise.all(runs)).toSorted()).toEqual(['claimed-before', 'mover-reports']);
  });

  it('that is delivered again after its time does not speak for the one under way', async () => {
    const world = new World();
    const id = world.give(world.task('precopy'));
    const first = runRequest(id, world.deps());
    await world.clock.advance(2_000);
    await first;
    await world.clock.advance(60_000);

    expect(await runRequest(id, world.deps())).toBe('claimed-before');
    expect(world.reportOf('precopy')?.kind).toBe('succeeded');
  });

  it.each([
    ['of another version', { version: 1 }, 'TaskInvalid', 'version'],
    ['without its fields', { fence: undefined }, 'TaskInvalid', 'fence'],
    ['of another request', { requestId: `${MIGRATION}.inspect.source.2` }, 'TaskInvalid', 'requestId'],
    ['of another migration', { migrationId: 'other-1' }, 'TaskInvalid', 'migrationId'],
    ['that came too late', { expiresAt: '2025-12-31T23:59:59.000Z' }, 'TaskExpired', '2025-12-31'],
  ])('%s is refused', async (_, change, expected, words) => {
    const world = new World();
    world.mailbox.tasks.set(inspectId, {
      task: { ...world.task('inspect', { fence: false }), ...change },
      claimed: false,
    });

    expect(await run(world, inspectId)).toBe('reported');
    expect(world.reportOf('inspect')).toMatchObject({
      kind: 'failed',
      failure: { code: expected, message: expect.stringContaining(words) },
    });
  });

  it('for another host is refused, by its own words or by the name this host has', async () => {
    const world = new World();
    world.give(world.task('cutover', { hostId: 'kvm-b' }));
    await run(world, `${MIGRATION}.cutover.source.1`);
    expect(code(world, 'cutover')).toBe('TaskMisdirected');

    world.give(world.task('inspect', { fence: false }));
    const outcome = runRequest(inspectId, { ...world.deps(), hostId: 'kvm-z' });
    await world.clock.runUntilIdle();
    await outcome;
    expect(code(world)).toBe('TaskMisdirected');
  });

  it('that is not there ends the command with an exit code of its own', async () => {
    await expect(run(new World(), inspectId)).rejects.toMatchObject({ exitCode: 66 });
  });

  it.each(['web01', `${MIGRATION}.dance.source.1`, `${MIGRATION}.inspect.bystander.1`])(
    'cannot be called %s',
    async (id) => {
      await expect(run(new World(), id)).rejects.toMatchObject({ exitCode: 64 });
    },
  );
});

describe('what goes wrong', () => {
  it('in a way nobody expected is reported as the agent having failed', async () => {
    const world = new World();
    world.give(world.task('precopy'));
    const movers = { ...world.movers, start: () => Promise.reject(new RangeError('no such thing')) };
    await runRequest(`${MIGRATION}.precopy.source.1`, { ...world.deps(), movers: movers as never });

    expect(world.reportOf('precopy')).toMatchObject({
      kind: 'failed',
      failure: { code: 'AgentFailed', message: 'RangeError: no such thing' },
    });
  });

  it('with libvirt is reported as such', async () => {
    const world = new World();
    world.source.faults.set('connect', () => Promise.reject(new Error('no socket')));
    await run(world, world.give(world.task('inspect', { fence: false })));

    expect(code(world)).toBe('HypervisorUnreachable');
  });

  it('with AWS is waited out, and the report written after all', async () => {
    const world = new World();
    const id = world.give(world.task('inspect', { fence: false }));
    world.source.faults.set('find', (proceed) => {
      world.mailbox.awsAway = true;
      return proceed();
    });
    const outcome = runRequest(id, world.deps());
    await world.clock.advance(20_000);
    world.mailbox.awsAway = false;
    await world.clock.runUntilIdle();

    expect(await outcome).toBe('reported');
    expect(code(world)).toBe('succeeded');
  });

  it('with AWS for good ends the command with an exit code of its own', async () => {
    const world = new World();
    world.mailbox.awsAway = true;
    await expect(run(world, inspectId)).rejects.toMatchObject({ exitCode: 69 });
  });

  it('with a cutover whose mover is gone is said so', async () => {
    const world = new World();
    await run(world, world.give(world.task('cutover')));
    expect(code(world, 'cutover')).toBe('MoverGone');
  });
});
