import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import { Policy } from '../../../../contract/policy.ts';
import { connectionError, libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { MIGRATION, VM, World } from '../world.ts';

/** A guest that writes faster than the link carries, and a plan that has it switch before its memory is there. */
const PLANNED = {
  plan: { method: 'post-copy', postCopyAllowed: true, connections: 1 },
  policy: Policy.parse({ onNonConvergence: 'postcopy' }),
};
const cutover = `${MIGRATION}.cutover.source.1`;

async function released(): Promise<World> {
  const world = new World({ memoryMiB: 16_384, dirtyMiBps: 3_000, workingSetMiB: 12_000 });
  await world.movers.start(world.task('precopy', PLANNED));
  await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  await world.movers.cutover(MIGRATION, cutover);
  return world;
}

async function inPostCopy(): Promise<World> {
  const world = await released();
  await world.until(() => world.at('destination') === 'running (post-copy)');
  return world;
}

const end = (world: World) => {
  const report = world.reportOf('cutover');
  return report?.kind === 'progress' ? undefined : report;
};
const ended = (world: World) => world.until(() => end(world) !== undefined, 30 * 60_000);
const states = (world: World) => [world.at('source'), world.at('destination')];
const decided = (world: World) => end(world)?.decisions.map(({ event }) => event);

describe('a post-copy', () => {
  it('begins after the commit, reports on the rest of the memory, and leaves nothing on the source', async () => {
    const world = await released();
    let commitRecordAtStart: string | undefined;
    world.source.faults.set('startPostCopy', (proceed) => {
      commitRecordAtStart = world.mailbox.commitRecord;
      return proceed();
    });
    await world.until(() => world.at('destination') === 'running (post-copy)');
    expect(commitRecordAtStart).toBe('COMMITTED');
    expect(world.at('source')).toBe('paused (post-copy)');

    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'succeeded', result: { postCopy: true, commitMs: 0 } });
    const { result } = end(world) as unknown as { result: { downtimeMs: number; switchMs: number } };
    expect(result.downtimeMs).toBeLessThan(200);
    expect(result.switchMs).toBeGreaterThan(8_000);
    const rest = world.mailbox.written.flatMap((r) =>
      r.kind === 'progress' && r.progress.phase === 'post-copy' ? [r] : [],
    );
    expect(rest.length).toBeGreaterThan(2);
    await world.until(() => world.at('source') === 'absent');
    expect(world.at('destination')).toBe('running (migrated)');
  });

  it('cannot be called off', async () => {
    const world = await inPostCopy();
    expect(world.movers.cancel(MIGRATION)).toBe(false);
    await ended(world);
    expect(end(world)?.kind).toBe('succeeded');
  });

  it.each([
    ['refused', 'revoked', 'CommitRevoked'],
    ['not answered', 'unknown', 'CommitUnknown'],
  ] as const)('does not begin when the commit is %s: the VM runs on', async (_, outcome, code) => {
    const world = await released();
    world.mailbox.onCommit = async () => outcome;
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'failed', failure: { code } });
    expect(states(world)).toEqual(['running (migration canceled)', 'absent']);
  });

  it('that QEMU refuses to begin leaves the VM on the source, though the handover is committed', async () => {
    const world = await released();
    world.source.faults.set('startPostCopy', () => Promise.reject(libvirtError('not now')));
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'failed', failure: { code: 'CopyFailed' } });
    expect(world.mailbox.commitRecord).toBe('COMMITTED');
    expect(states(world)).toEqual(['running (migration canceled)', 'absent']);
  });

  it('goes through when the answer to its start is lost', async () => {
    const world = await released();
    world.source.faults.set('startPostCopy', async (proceed) => {
      await proceed();
      throw connectionError('lost');
    });
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
  });

  it('does not begin when the destination does not answer any more', async () => {
    const world = await released();
    world.destination.faults.set('find', () => Promise.reject(connectionError('lost')));
    await ended(world);
    expect(end(world)?.kind).toBe('failed');
    expect(states(world)).toEqual(['running (migration canceled)', 'absent']);
  });
});

describe('a broken post-copy', () => {
  const breakIt = (world: World) => world.source.copies.get(VM)?.stream?.();

  it('is resumed at once', async () => {
    const world = await inPostCopy();
    breakIt(world);
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
    expect(decided(world)).toContain('post-copy broken, to be resumed');
    await world.until(() => world.at('source') === 'absent');
  });

  it('is resumed when the network is back', async () => {
    const world = await inPostCopy();
    world.fleet.network.cut('kvm-a', 'kvm-b');
    await world.clock.advance(120_000);
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    world.fleet.network.heal('kvm-a', 'kvm-b');
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'succeeded' });
  });

  it('is given to recovery when the network stays away; neither half is touched', async () => {
    const world = await inPostCopy();
    world.fleet.network.cut('kvm-a', 'kvm-b');
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('is given up when a half is gone; the other is not touched', async () => {
    const world = await inPostCopy();
    world.destination.killQemu(VM);
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(world.at('source')).toBe('paused (post-copy failed)');
  });

  it('is given up when the destination loses its daemon over it twice', async () => {
    const world = await inPostCopy();
    let times = 0;
    world.destination.faults.set('prepare', async () => {
      times += 1;
      world.destination.restartDaemon();
      throw connectionError('lost');
    });
    breakIt(world);
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'failed', failure: { code: 'PostCopyBroken' } });
    expect(times).toBe(2);
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('goes on when only the connection to the destination was lost', async () => {
    const world = await inPostCopy();
    world.destination.severConnections();
    await ended(world);
    expect(end(world)).toMatchObject({ kind: 'succeeded', result: { postCopy: true } });
    await world.until(() => world.at('source') === 'absent');
  });
});

describe('without its mover, a post-copy', () => {
  async function orphaned(): Promise<World> {
    const world = await inPostCopy();
    expect(await world.movers.fence(MIGRATION)).toBe('killed');
    await world.clock.advance(100);
    return world;
  }
  async function abort(world: World, action: string, attempt = 1) {
    const run = runRequest(world.give(world.task('abort', { action }, attempt)), world.deps());
    await world.until(() => world.reportOf('abort', 'source', attempt) !== undefined);
    await run;
    return world.reportOf('abort', 'source', attempt);
  }

  it('is taken to its end by libvirt, which leaves the definition on the source', async () => {
    const world = await orphaned();
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy)']);
    await world.clock.advance(60_000);
    expect(states(world)).toEqual(['shut off (migrated)', 'running (migrated)']);
    expect(await abort(world, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(world.at('source')).toBe('absent');
  });

  it('is not resumed, nor is its half removed, while it goes on', async () => {
    const world = await orphaned();
    expect(await abort(world, 'resume-postcopy')).toMatchObject({
      kind: 'failed',
      failure: { code: 'PostCopyBroken' },
    });
    expect(await abort(world, 'remove-paused-copy', 2)).toMatchObject({
      kind: 'failed',
      failure: { code: 'NeedsOperator' },
    });
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy)']);
  });

  it("is resumed by recovery's hand when it broke", async () => {
    const world = await orphaned();
    world.source.copies.get(VM)?.stream?.();
    await world.clock.advance(30_000);
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
    expect(await abort(world, 'resume-postcopy')).toMatchObject({ kind: 'succeeded' });
    expect(states(world)).toEqual(['absent', 'running (migrated)']);
  });

  it('is not resumed on a libvirt that would crash, unless its administrator says that it is mended', async () => {
    const world = await orphaned();
    world.source.copies.get(VM)?.stream?.();
    world.fleet.libvirtVersion = 11_003_000;
    const failed = await abort(world, 'resume-postcopy');
    expect(failed).toMatchObject({ failure: { code: 'PostCopyBroken', message: expect.stringContaining('11.3.0') } });
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (post-copy failed)']);
  });

  it('leaves a half that may go once the destination has all of the VM', async () => {
    const world = await inPostCopy();
    world.source.faults.set('confirm', () => new Promise(() => {}));
    await ended(world);
    await world.movers.fence(MIGRATION);
    await world.clock.advance(100);
    expect(states(world)).toEqual(['paused (post-copy failed)', 'running (migrated)']);
    expect(await abort(world, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(states(world)).toEqual(['absent', 'running (migrated)']);
  });

  it('leaves one as it was when libvirtd is restarted in the middle of Confirm, and that may go too', async () => {
    const world = await inPostCopy();
    world.source.faults.set('confirm', (proceed) => {
      void world.until(() => world.source.copies.get(VM)?.confirming === true).then(() => world.source.restartDaemon());
      return proceed();
    });
    await ended(world);
    await world.clock.advance(3_000);
    expect(states(world)).toEqual(['paused (post-copy)', 'running (migrated)']);
    expect(await abort(world, 'remove-paused-copy')).toMatchObject({ kind: 'succeeded' });
    expect(states(world)).toEqual(['absent', 'running (migrated)']);
  });
});
