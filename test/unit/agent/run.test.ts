import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../agent/run.ts';
import { AgentTestEnvironment, MIGRATION } from './agent-test-environment.ts';

const inspectId = `${MIGRATION}.inspect.source.1`;
const code = (environment: AgentTestEnvironment, stage: 'inspect' | 'cutover' = 'inspect') => {
  const report = environment.reportOf(stage);
  return report?.kind === 'failed' ? report.failure.code : report?.kind;
};

async function run(environment: AgentTestEnvironment, requestId: string) {
  const outcome = runRequest(requestId, environment.deps());
  outcome.catch(() => {});
  await environment.clock.runUntilIdle();
  return outcome;
}

describe('a task', () => {
  it('is claimed, carried out and reported', async () => {
    const environment = new AgentTestEnvironment();
    const id = environment.give(environment.task('inspect', { fence: false }));

    expect(await run(environment, id)).toBe('reported');
    expect(environment.mailbox.tasks.get(id)?.claimed).toBe(true);
    expect(environment.reportOf('inspect')).toMatchObject({
      kind: 'succeeded',
      requestId: id,
      result: {
        stage: 'inspect',
        evidence: { state: 'running', detail: 'running (booted)', jobActive: false, mover: 'not-asked' },
      },
    });
  });

  it('that is delivered twice is carried out once, also when both come at the same time', async () => {
    const environment = new AgentTestEnvironment();
    const id = environment.give(environment.task('precopy'));
    const runs = [runRequest(id, environment.deps()), runRequest(id, environment.deps())];
    await environment.clock.advance(10);

    expect((await Promise.all(runs)).toSorted()).toEqual(['claimed-before', 'mover-reports']);
  });

  it('that is delivered again after its time does not report on the one under way', async () => {
    const environment = new AgentTestEnvironment();
    const id = environment.give(environment.task('precopy'));
    const first = runRequest(id, environment.deps());
    await environment.clock.advance(2_000);
    await first;
    await environment.clock.advance(60_000);

    expect(await runRequest(id, environment.deps())).toBe('claimed-before');
    expect(environment.reportOf('precopy')?.kind).toBe('succeeded');
  });

  it.each([
    ['of another version', { version: 1 }, 'TaskInvalid', 'version'],
    ['without its fields', { fence: undefined }, 'TaskInvalid', 'fence'],
    ['of another request', { requestId: `${MIGRATION}.inspect.source.2` }, 'TaskInvalid', 'requestId'],
    ['of another migration', { migrationId: 'other-1' }, 'TaskInvalid', 'migrationId'],
    ['that came too late', { expiresAt: '2025-12-31T23:59:59.000Z' }, 'TaskExpired', '2025-12-31'],
  ])('%s is refused', async (_, change, expected, words) => {
    const environment = new AgentTestEnvironment();
    environment.mailbox.tasks.set(inspectId, {
      task: { ...environment.task('inspect', { fence: false }), ...change },
      claimed: false,
    });

    expect(await run(environment, inspectId)).toBe('reported');
    expect(environment.reportOf('inspect')).toMatchObject({
      kind: 'failed',
      failure: { code: expected, message: expect.stringContaining(words) },
    });
  });

  it('for another host is refused, by its own words or by the name this host has', async () => {
    const environment = new AgentTestEnvironment();
    environment.give(environment.task('cutover', { hostId: 'kvm-b' }));
    await run(environment, `${MIGRATION}.cutover.source.1`);
    expect(code(environment, 'cutover')).toBe('TaskMisdirected');

    environment.give(environment.task('inspect', { fence: false }));
    const outcome = runRequest(inspectId, { ...environment.deps(), hostId: 'kvm-z' });
    await environment.clock.runUntilIdle();
    await outcome;
    expect(code(environment)).toBe('TaskMisdirected');
  });

  it('that is not there ends the command with an exit code of its own', async () => {
    await expect(run(new AgentTestEnvironment(), inspectId)).rejects.toMatchObject({ exitCode: 66 });
  });

  it.each(['web01', `${MIGRATION}.dance.source.1`, `${MIGRATION}.inspect.bystander.1`])(
    'cannot be called %s',
    async (id) => {
      await expect(run(new AgentTestEnvironment(), id)).rejects.toMatchObject({ exitCode: 64 });
    },
  );
});

describe('the log of a stage', () => {
  it('has its begin and its result, with migration, request, host and stage', async () => {
    const environment = new AgentTestEnvironment();
    const id = environment.give(environment.task('inspect', { fence: false }));
    await run(environment, id);

    const common = { level: 'info', migrationId: MIGRATION, requestId: id, hostId: 'kvm-a', stage: 'inspect' };
    expect(environment.logged).toEqual([
      expect.objectContaining({ ...common, message: 'stage begins' }),
      expect.objectContaining({ ...common, message: 'stage succeeded', result: expect.any(Object), tookMs: 3 }),
    ]);
  });

  it('names the failure and its code', async () => {
    const environment = new AgentTestEnvironment();
    await run(environment, environment.give(environment.task('cutover')));

    expect(environment.logged.at(-1)).toMatchObject({
      level: 'error',
      message: expect.stringMatching(/^stage failed: no mover of/),
      code: 'MoverGone',
    });
  });
});

describe('what goes wrong', () => {
  it('in a way nobody expected is reported as the agent having failed', async () => {
    const environment = new AgentTestEnvironment();
    environment.give(environment.task('precopy'));
    const movers = { ...environment.movers, start: () => Promise.reject(new RangeError('no such thing')) };
    await runRequest(`${MIGRATION}.precopy.source.1`, { ...environment.deps(), movers: movers as never });

    expect(environment.reportOf('precopy')).toMatchObject({
      kind: 'failed',
      failure: { code: 'AgentFailed', message: 'RangeError: no such thing' },
    });
  });

  it('with libvirt is reported as such', async () => {
    const environment = new AgentTestEnvironment();
    environment.source.faults.set('connect', () => Promise.reject(new Error('no socket')));
    await run(environment, environment.give(environment.task('inspect', { fence: false })));

    expect(code(environment)).toBe('HypervisorUnreachable');
  });

  it('with AWS is waited out, and the report written after all', async () => {
    const environment = new AgentTestEnvironment();
    const id = environment.give(environment.task('inspect', { fence: false }));
    environment.source.faults.set('find', (proceed) => {
      environment.mailbox.awsAway = true;
      return proceed();
    });
    const outcome = runRequest(id, environment.deps());
    await environment.clock.advance(20_000);
    environment.mailbox.awsAway = false;
    await environment.clock.runUntilIdle();

    expect(await outcome).toBe('reported');
    expect(code(environment)).toBe('succeeded');
  });

  it('with AWS permanently ends the command with an exit code of its own', async () => {
    const environment = new AgentTestEnvironment();
    environment.mailbox.awsAway = true;
    await expect(run(environment, inspectId)).rejects.toMatchObject({ exitCode: 69 });
  });

  it('with a cutover whose mover is gone is said so', async () => {
    const environment = new AgentTestEnvironment();
    await run(environment, environment.give(environment.task('cutover')));
    expect(code(environment, 'cutover')).toBe('MoverGone');
  });
});
