import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import { Policy } from '../../../../contract/policy.ts';
import { connectionError, libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';

/** A guest that writes faster than the link carries, and a plan that has it switch before its memory is there. */
const PLANNED = {
  plan: { method: 'post-copy', postCopyAllowed: true, connections: 1 },
  policy: Policy.parse({ onNonConvergence: 'postcopy' }),
};
const cutover = `${MIGRATION}.cutover.source.1`;

async function released(): Promise<AgentTestEnvironment> {
  const environment = new AgentTestEnvironment({ memoryMiB: 16_384, dirtyMiBps: 3_000, workingSetMiB: 12_000 });
  await environment.movers.start(environment.task('precopy', PLANNED));
  await environment.until(() => environment.reportOf('precopy')?.kind === 'succeeded');
  await environment.movers.cutover(MIGRATION, cutover);
  return environment;
}

async function inPostCopy(): Promise<AgentTestEnvironment> {
  const environment = await released();
  await environment.until(() => environment.at('destination') === 'running (post-copy)');
  return environment;
}

const end = (environment: AgentTestEnvironment) => {
  const report = environment.reportOf('cutover');
  return report?.kind === 'progress' ? undefined : report;
};
const ended = (environment: AgentTestEnvironment) =>
  environment.until(() => end(environment) !== undefined, 30 * 60_000);
const states = (environment: AgentTestEnvironment) => [environment.at('source'), environment.at('destination')];
const decided = (environment: AgentTestEnvironment) => end(environment)?.decisions.map(({ event }) => event);

describe('a post-copy', () => {
  it('begins after the commit, reports on the rest of the memory, and leaves nothing on the source', async () => {
    const environment = await released();
    let commitRecordAtStart: string | undefined;
    environment.source.faults.set('startPostCopy', (proceed) => {
      commitRecordAtStart = environment.mailbox.commitRecord;
      return proceed();
    });
    await environment.until(() => environment.at('destination') === 'running (post-copy)');
    expect(commitRecordAtStart).toBe('COMMITTED');
    expect(environment.at('source')).toBe('paused (post-copy)');

    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'succeeded', result: { postCopy: true, commitMs: 0 } });
    const { result } = end(environment) as unknown as { result: { downtimeMs: number; switchMs: number } };
    expect(result.downtimeMs).toBeLessThan(200);
    expect(result.switchMs).toBeGreaterThan(8_000);
    const rest = environment.mailbox.written.flatMap((r) =>
      r.kind === 'progress' && r.progress.phase === 'post-copy' ? [r] : [],
    );
    expect(rest.length).toBeGreaterThan(2);
    await environment.until(() => environment.at('source') === 'absent');
    expect(environment.at('destination')).toBe('running (migrated)');
  });

  it('cannot be called off', async () => {
    const environment = await inPostCopy();
    expect(environment.movers.cancel(MIGRATION)).toBe(false);
    await ended(environment);
    expect(end(environment)?.kind).toBe('succeeded');
  });

  it.each([
    ['refused', 'revoked', 'CommitRevoked'],
    ['not answered', 'unknown', 'CommitUnknown'],
  ] as const)('does not begin when the commit is %s: the VM runs on', async (_, outcome, code) => {
    const environment = await released();
    environment.mailbox.onCommit = async () => outcome;
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'failed', failure: { code } });
    expect(states(environment)).toEqual(['running (migration canceled)', 'absent']);
  });

  it('that QEMU refuses to begin leaves the VM on the source, though the handover is committed', async () => {
    const environment = await released();
    environment.source.faults.set('startPostCopy', () => Promise.reject(libvirtError('not now')));
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'failed', failure: { code: 'CopyFailed' } });
    expect(environment.mailbox.commitRecord).toBe('COMMITTED');
    expect(states(environment)).toEqual(['running (migration canceled)', 'absent']);
  });

  it('goes through when the answer to its start is lost', async () => {
    const environment = await released();
    environment.source.faults.set('startPostCopy', async (proceed) => {
      await proceed();
      throw connectionError('lost');
    });
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
  });

  it('does not begin when the destination does not answer any more', async () => {
    const environment = await released();
    environment.destination.faults.set('find', () => Promise.reject(connectionError('lost')));
    await ended(environment);
    expect(end(environment)?.kind).toBe('failed');
    expect(states(environment)).toEqual(['running (migration canceled)', 'absent']);
  });
});

describe('a broken post-copy', () => {
  const breakIt = (environment: AgentTestEnvironment) => environment.source.copies.get(VM)?.stream?.();

  it('is resumed at once', async () => {
    const environment = await inPostCopy();
    breakIt(environment);
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
    expect(decided(environment)).toContain('post-copy broken, to be resumed');
    await environment.until(() => environment.at('source') === 'absent');
  });

  it('is resumed when the network is back', async () => {
    const environment = await inPostCopy();
    environment.fleet.network.cut('kvm-a', 'kvm-b');
    await environment.clock.advance(120_000);
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    environment.fleet.network.heal('kvm-a', 'kvm-b');
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'succeeded' });
  });

  it('is given to recovery when the network stays away; neither half is touched', async () => {
    const environment = await inPostCopy();
    environment.fleet.network.cut('kvm-a', 'kvm-b');
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('is given up when a half is gone; the other is not touched', async () => {
    const environment = await inPostCopy();
    environment.destination.killQemu(VM);
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(environment.at('source')).toBe('paused (post-copy failed)');
  });

  it('is given up when the destination loses its daemon over it twice', async () => {
    const environment = await inPostCopy();
    let times = 0;
    environment.destination.faults.set('prepare', async () => {
      times += 1;
      environment.destination.restartDaemon();
      throw connectionError('lost');
    });
    breakIt(environment);
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(times).toBe(2);
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('goes on when only the connection to the destination was lost', async () => {
    const environment = await inPostCopy();
    environment.destination.severConnections();
    await ended(environment);
    expect(end(environment)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
    await environment.until(() => environment.at('source') === 'absent');
  });
});

describe('without its mover, a post-copy', () => {
  async function orphaned(): Promise<AgentTestEnvironment> {
    const environment = await inPostCopy();
    expect(await environment.movers.fence(MIGRATION)).toBe('killed');
    await environment.clock.advance(100);
    return environment;
  }
  async function abort(environment: AgentTestEnvironment, action: string, attempt = 1) {
    const run = runRequest(environment.give(environment.task('abort', { action }, attempt)), environment.deps());
    await environment.until(() => environment.reportOf('abort', 'source', attempt) !== undefined);
    await run;
    return environment.reportOf('abort', 'source', attempt);
  }

  it('is taken to its end by libvirt, which leaves the definition on the source', async () => {
    const environment = await orphaned();
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy)']);
    await environment.clock.advance(60_000);
    expect(states(environment)).toEqual(['shut off (migrated)', 'running (migrated)']);
    expect(await abort(environment, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(environment.at('source')).toBe('absent');
  });

  it('is not resumed, nor is its half removed, while it goes on', async () => {
    const environment = await orphaned();
    expect(await abort(environment, 'resume-postcopy')).toMatchObject({
      kind: 'failed',
      failure: { code: 'PostCopyBroken' },
    });
    expect(await abort(environment, 'remove-paused-copy', 2)).toMatchObject({
      kind: 'failed',
      failure: { code: 'NeedsOperator' },
    });
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy)']);
  });

  it("is resumed by recovery's hand when it broke", async () => {
    const environment = await orphaned();
    environment.source.copies.get(VM)?.stream?.();
    await environment.clock.advance(30_000);
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    expect(await abort(environment, 'resume-postcopy')).toMatchObject({ kind: 'succeeded' });
    expect(states(environment)).toEqual(['absent', 'running (migrated)']);
  });

  it('is not resumed on a libvirt that would crash, unless its administrator says that it is mended', async () => {
    const environment = await orphaned();
    environment.source.copies.get(VM)?.stream?.();
    environment.fleet.libvirtVersion = 11_003_000;
    const failed = await abort(environment, 'resume-postcopy');
    expect(failed).toMatchObject({ failure: { code: 'PostCopyBroken', message: expect.stringContaining('11.3.0') } });
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('leaves a half that may go once the destination has all of the VM', async () => {
    const environment = await inPostCopy();
    environment.source.faults.set('confirm', () => new Promise(() => {}));
    await ended(environment);
    await environment.movers.fence(MIGRATION);
    await environment.clock.advance(100);
    expect(states(environment)).toEqual(['paused (post-copy failed)', 'running (migrated)']);
    expect(await abort(environment, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(states(environment)).toEqual(['absent', 'running (migrated)']);
  });

  it('leaves one as it was when libvirtd is restarted in the middle of Confirm, and that may go too', async () => {
    const environment = await inPostCopy();
    environment.source.faults.set('confirm', (proceed) => {
      void environment
        .until(() => environment.source.copies.get(VM)?.confirming === true)
        .then(() => environment.source.restartDaemon());
      return proceed();
    });
    await ended(environment);
    await environment.clock.advance(3_000);
    expect(states(environment)).toEqual(['paused (post-copy)', 'running (migrated)']);
    expect(await abort(environment, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(states(environment)).toEqual(['absent', 'running (migrated)']);
  });
});
