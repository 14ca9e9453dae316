import { describe, expect, it } from 'vitest';
import { connectionError, libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { MIGRATION, VM, World } from '../world.ts';

const cutoverRequest = `${MIGRATION}.cutover.source.1`;

/** A world with the copy held, and the cutover not yet ordered. */
async function held(guest: ConstructorParameters<typeof World>[0] = {}): Promise<World> {
  const world = new World(guest);
  await world.movers.start(world.task('precopy'));
  await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
  return world;
}

async function cutOver(world: World): Promise<void> {
  await world.movers.cutover(MIGRATION, cutoverRequest);
  await world.until(() => final(world, 'cutover') !== undefined);
}

function final(world: World, stage: 'precopy' | 'cutover') {
  const report = world.reportOf(stage);
  return report?.kind === 'progress' ? undefined : report;
}

const failed = (code: string) =>
  expect.objectContaining({ kind: 'failed', failure: expect.objectContaining({ code }) });

describe('pre-copy', () => {
  it('holds the copy, with the VM running on the source, and says for how long it surely can', async () => {
    const world = await held();

    expect(final(world, 'precopy')).toMatchObject({ kind: 'succeeded', result: { precopy: 'held' } });
    const { result } = final(world, 'precopy') as { result: { guaranteedHoldSeconds: number; bytesRemaining: number } };
    expect(result.guaranteedHoldSeconds).toBeGreaterThanOrEqual(60);
    await world.clock.advance(result.guaranteedHoldSeconds * 1_000);
    expect([world.at('source'), world.at('destination')]).toEqual(['running (booted)', 'paused (migrating)']);
    expect(world.mailbox.commitRecord).toBe('OPEN');
  });

  it('brakes a small guest on a fast link in time', async () => {
    const world = await held({ memoryMiB: 512 });

    const { result } = final(world, 'precopy') as { result: { precopy: string; bytesRemaining: number } };
    expect(result.precopy).toBe('held');
    expect(result.bytesRemaining).toBeGreaterThan(64 * 1_048_576);
  });

  it('reports its progress at most every 2 s, and at each change of phase', async () => {
    const world = new World({ memoryMiB: 20_000 });
    await world.movers.start(world.task('precopy'));
    await world.until(() => final(world, 'precopy') !== undefined);

    const copying = world.mailbox.written.filter((r) => r.kind === 'progress' && r.progress.phase === 'copying');
    const times = copying.map(({ at }) => Date.parse(at));
    expect(times.length).toBeGreaterThan(3);
    for (const [i, time] of times.slice(1).entries()) expect(time - times[i]!).toBeGreaterThanOrEqual(2_000);
    expect(world.mailbox.written.map(({ sequence }) => sequence)).toEqual(
      world.mailbox.written.map(({ sequence }) => sequence).toSorted((a, b) => a - b),
    );
  });

  it('commits and goes through when an idle guest converges despite the brake', async () => {
    // Too little memory to hold for long, and nothing dirtied.
    const world = new World({ memoryMiB: 16, dirtyMiBps: 0, workingSetMiB: 0 });
    world.source.faults.set('job', () => new Promise(() => {}));
    await world.movers.start(world.task('precopy'));
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toMatchObject({ result: { precopy: 'completed', downtimeMs: expect.any(Number) } });
    expect(world.at('destination')).toBe('running (migrated)');
    expect(world.mailbox.commitRecord).toBe('COMMITTED');
    await world.clock.runUntilIdle();
    expect(world.at('source')).toBe('absent');
  });

  it('tells the cutover order that comes later of a hold that ended by itself', async () => {
    const world = await held({ memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    await world.until(() => world.at('destination') === 'running (migrated)');
    await cutOver(world);

    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded', result: { stage: 'cutover' } });
  });

  it('reports what libvirt said when the copy breaks, with the VM running on the source', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    world.destination.becomeUnreachable();
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toEqual(failed('CopyFailed'));
    expect(final(world, 'precopy')).toMatchObject({ failure: { message: expect.stringContaining('was lost') } });
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it('ends the copy when the destination no longer answers, though QEMU itself does not notice', async () => {
    const world = new World();
    const stalled = Promise.withResolvers<never>();
    world.source.faults.set('perform', () => stalled.promise);
    world.source.faults.set('abortJob', async () => stalled.reject(libvirtError('migration canceled')));
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    world.destination.severConnections();
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toEqual(failed('CopyFailed'));
    expect(final(world, 'precopy')).toMatchObject({ failure: { message: expect.stringContaining('was lost') } });
  });

  it('leaves it to recovery to look when its own libvirt is gone, instead of asking a dead connection', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    world.source.restartDaemon();
    await world.until(() => final(world, 'precopy') !== undefined, 5_000);

    expect(final(world, 'precopy')).toEqual(failed('CopyFailed'));
  });

  it('says at once that the guest has ended, instead of waiting for it to run on', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    world.source.killQemu(VM);
    await world.until(() => final(world, 'precopy') !== undefined, 5_000);

    expect(final(world, 'precopy')).toMatchObject({
      failure: { message: expect.stringContaining('shut off (crashed)') },
    });
  });

  it('is heard of while it waits for the destination to prepare', async () => {
    const world = new World();
    world.destination.faults.set('prepare', async (proceed) => {
      await world.clock.sleep(20_000);
      return proceed();
    });
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(19_000);

    const beats = world.mailbox.written.filter((r) => r.kind === 'progress' && r.progress.phase === 'preparing');
    expect(beats.length).toBeGreaterThanOrEqual(8);
  });

  it('gives up at the deadline', async () => {
    const world = new World({ memoryMiB: 100_000 });
    await world.movers.start(
      world.task('precopy', { policy: { ...world.task('precopy').policy, deadlineSeconds: 5 } }),
    );
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toEqual(failed('DeadlineExceeded'));
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it.each([['REVOKED'], ['COMMITTED'], [undefined]] as const)(
    'does not begin when its commit record is %s',
    async (commitRecord) => {
      const world = new World();
      world.mailbox.commitRecord = commitRecord;
      await world.movers.start(world.task('precopy'));
      await world.until(() => final(world, 'precopy') !== undefined);

      expect(final(world, 'precopy')).toEqual(failed('CommitRevoked'));
      expect(world.at('destination')).toBe('absent');
    },
  );

  it('reports an unreachable destination', async () => {
    const world = new World();
    world.destination.becomeUnreachable();
    await world.movers.start(world.task('precopy'));
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toEqual(failed('HypervisorUnreachable'));
  });
});

describe('the handover', () => {
  it('commits between Perform and Finish, and reports before the source copy is gone', async () => {
    const world = await held();
    const seenAtCommit: string[] = [];
    world.mailbox.onCommit = async (proceed) => {
      seenAtCommit.push(world.at('source'), world.at('destination'));
      return proceed();
    };
    await cutOver(world);

    expect(seenAtCommit).toEqual(['paused (migrating)', 'paused (migrating)']);
    expect(final(world, 'cutover')).toMatchObject({
      kind: 'succeeded',
      result: { stage: 'cutover', downtimeMs: expect.any(Number), commitMs: 0 },
    });
    expect([world.at('source'), world.at('destination')]).toEqual(['paused (migrating)', 'running (migrated)']);
    await world.clock.advance(2_000);
    expect([world.at('source'), world.at('destination')]).toEqual(['absent', 'running (migrated)']);
  });

  it('copies what was held with the guest running, and stops it only for the last few MiB', async () => {
    const world = await held({ memoryMiB: 16_384, workingSetMiB: 4 });
    const { result: hold } = final(world, 'precopy') as unknown as { result: { bytesRemaining: number } };
    // What is held would fit into the budget at once: 300 ms at 1,100 MiB/s.
    expect(hold.bytesRemaining).toBeGreaterThan(300 * 1_048_576);
    await cutOver(world);

    const { result } = final(world, 'cutover') as unknown as { result: { downtimeMs: number } };
    expect(result.downtimeMs).toBeLessThan(60);
  });

  it('is not cancelled by a Confirm that fails', async () => {
    const world = await held();
    world.source.faults.set('confirm', async () => {
      throw connectionError('gone');
    });
    await cutOver(world);

    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
    await world.clock.advance(5_000);
    expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([
      expect.objectContaining({
        level: 'warn',
        message: expect.stringContaining('Confirm failed'),
        migrationId: MIGRATION,
      }),
    ]);
    expect([world.at('source'), world.at('destination')]).toEqual(['paused (migrating)', 'running (migrated)']);
  });

  it.each([
    ['revoked', 'CommitRevoked'],
    ['unknown', 'CommitUnknown'],
  ] as const)('is taken back when the commit is %s', async (outcome, code) => {
    const world = await held();
    world.mailbox.onCommit = async () => outcome;
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed(code));
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it('resumes the source only after the destination copy is gone', async () => {
    const world = await held();
    world.mailbox.onCommit = async () => 'unknown';
    let atConfirm = '';
    world.source.faults.set('confirm', (proceed) => {
      atConfirm = world.at('destination');
      return proceed();
    });
    await cutOver(world);

    expect(atConfirm).toBe('absent');
  });

  it('is taken back when the destination says that it could not start the VM', async () => {
    const world = await held();
    world.destination.faults.set('finish', async () => {
      world.destination.copies.delete(VM);
      throw libvirtError('Failed to start domain: could not lock image');
    });
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('HandoverCancelled'));
    expect(world.at('source')).toBe('running (migration canceled)');
  });

  describe("when the destination's answer is lost", () => {
    /** The call's connection goes, before or after the daemon has carried it out. */
    async function losing(world: World, carriedOut: boolean): Promise<void> {
      world.destination.faults.set('finish', async (proceed) => {
        if (carriedOut) await proceed();
        world.destination.severConnections();
        return new Promise(() => {});
      });
    }

    it('confirms when the VM is seen running there', async () => {
      const world = await held();
      await losing(world, true);
      await cutOver(world);

      expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
      await world.clock.advance(2_000);
      expect([world.at('source'), world.at('destination')]).toEqual(['absent', 'running (migrated)']);
    });

    it('resumes the source when libvirt there says that it has no such VM', async () => {
      const world = await held();
      await losing(world, false);
      await cutOver(world);

      expect(final(world, 'cutover')).toEqual(failed('HandoverCancelled'));
      expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
    });

    it.each([[true], [false]])('leaves the source paused when nobody answers there (carried out: %s)', async (ran) => {
      const world = await held();
      world.destination.faults.set('finish', async (proceed) => {
        if (ran) await proceed();
        world.destination.becomeUnreachable();
        return new Promise(() => {});
      });
      await cutOver(world);

      expect(final(world, 'cutover')).toEqual(failed('FinishUnknown'));
      expect(world.at('source')).toBe('paused (migrating)');
      await world.clock.runUntilIdle();
      expect(world.at('source')).toBe('paused (migrating)');
      expect(world.mailbox.commitRecord).toBe('COMMITTED');
    });

    it('waits while Finish may still be under way, and beats its heart meanwhile', async () => {
      const world = await held();
      world.destination.faults.set('finish', async () => {
        // The daemon is still at it when the connection goes, and done 10 s later.
        const copy = world.destination.copies.get(VM)!;
        delete copy.preparedBy;
        void world.clock.sleep(10_000).then(() => world.destination.run(copy.guest, 'running (migrated)'));
        world.destination.severConnections();
        return new Promise(() => {});
      });
      await world.movers.cutover(MIGRATION, cutoverRequest);
      await world.clock.advance(9_000);
      expect(world.at('source')).toBe('paused (migrating)');
      expect(world.reportOf('cutover')).toMatchObject({ kind: 'progress', progress: { phase: 'finishing' } });
      await world.clock.advance(5_000);

      expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
      expect([world.at('source'), world.at('destination')]).toEqual(['absent', 'running (migrated)']);
    });
  });
});

describe('announcing the hold', () => {
  const ANNOUNCE_MS = 3_000;

  /** A world whose mover has said that the hold is near. */
  async function near(guest: ConstructorParameters<typeof World>[0] = { memoryMiB: 8_192 }): Promise<World> {
    const world = new World(guest);
    await world.movers.start(world.task('precopy', { announceMs: ANNOUNCE_MS }));
    await world.until(() => final(world, 'precopy') !== undefined);
    expect(final(world, 'precopy')).toMatchObject({ kind: 'succeeded', result: { precopy: 'approaching' } });
    return world;
  }
  const phases = (world: World) =>
    world.mailbox.written.flatMap((report) => (report.kind === 'progress' ? [report.progress.phase] : []));

  it('lets the copy through without a hold when the cutover comes in time', async () => {
    const world = await near();
    const since = world.clock.now();
    await world.movers.cutover(MIGRATION, cutoverRequest);
    await world.until(() => final(world, 'cutover') !== undefined);

    expect(world.clock.now() - since).toBeLessThan(ANNOUNCE_MS + 1_000);
    expect(phases(world)).not.toContain('held');
    const { result } = final(world, 'cutover') as { result: Record<string, unknown> };
    expect(result).not.toHaveProperty('guaranteedHoldSeconds');
    expect(world.at('destination')).toBe('running (migrated)');
  });

  it('holds when it does not, and tells the cutover that comes later for how long it could', async () => {
    const world = await near();
    await world.clock.advance(30_000);
    expect([world.at('source'), world.at('destination')]).toEqual(['running (booted)', 'paused (migrating)']);
    await cutOver(world);

    expect(final(world, 'cutover')).toMatchObject({ result: { guaranteedHoldSeconds: expect.any(Number) } });
    expect(world.at('destination')).toBe('running (migrated)');
  });

  it('holds while AWS does not say that the commit record is open', async () => {
    const world = await near();
    world.mailbox.awsAway = true;
    await world.movers.cutover(MIGRATION, cutoverRequest);
    await world.clock.advance(30_000);
    expect(world.at('source')).toBe('running (booted)');
    world.mailbox.awsAway = false;
    await world.until(() => final(world, 'cutover') !== undefined);

    expect(final(world, 'cutover')).toMatchObject({ result: { guaranteedHoldSeconds: expect.any(Number) } });
    expect(world.at('destination')).toBe('running (migrated)');
  });

  it('ends when the commit record is revoked, before the guest is touched', async () => {
    const world = await near();
    world.mailbox.commitRecord = 'REVOKED';
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('CommitRevoked'));
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it('keeps an end that comes before the cutover for it', async () => {
    const world = await near();
    world.destination.becomeUnreachable();
    await world.until(() => world.at('source') === 'running (migration canceled)');
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('CopyFailed'));
  });
});

describe('holding', () => {
  it('goes on while AWS is away, and hands over when it is back', async () => {
    const world = await held();
    world.mailbox.awsAway = true;
    await world.movers.cutover(MIGRATION, cutoverRequest);
    await world.clock.advance(30_000);
    expect(world.at('source')).toBe('running (booted)');
    world.mailbox.awsAway = false;
    await world.until(() => final(world, 'cutover') !== undefined);

    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
    expect(world.at('destination')).toBe('running (migrated)');
  });

  it('takes the handover back when the rest runs out while AWS is away', async () => {
    const world = await held({ memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    world.mailbox.awsAway = true;
    await world.until(() => world.at('source') === 'running (migration canceled)');
    world.mailbox.awsAway = false;
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('CommitUnknown'));
    expect(world.at('destination')).toBe('absent');
  });

  it('ends when the commit record is revoked, before the guest is touched', async () => {
    const world = await held();
    world.mailbox.commitRecord = 'REVOKED';
    let performed = false;
    world.source.faults.set('confirm', async () => {
      performed = true;
    });
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('CommitRevoked'));
    expect(performed).toBe(false);
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it('accepts a cutover that comes before the copy is held', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(500);
    await cutOver(world);

    expect(final(world, 'precopy')).toMatchObject({ result: { precopy: 'held' } });
    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });

  it('does not count against the deadline', async () => {
    const world = new World({ dirtyMiBps: 200, workingSetMiB: 1_000 });
    const { policy } = world.task('precopy');
    await world.movers.start(world.task('precopy', { policy: { ...policy, deadlineSeconds: 10 } }));
    await world.until(() => final(world, 'precopy') !== undefined);
    await world.clock.advance(60_000);
    await cutOver(world);

    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });

  it('ends at the deadline after the cutover when the guest dirties faster than the link copies', async () => {
    const world = new World({ dirtyMiBps: 3_000, workingSetMiB: 3_000 });
    const { policy } = world.task('precopy');
    await world.movers.start(world.task('precopy', { policy: { ...policy, deadlineSeconds: 20 } }));
    await world.until(() => final(world, 'precopy') !== undefined);
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('DeadlineExceeded'));
    expect(world.at('source')).toBe('running (migration canceled)');
  });
});

describe('cancelling', () => {
  it.each([
    ['before the copy', 5],
    ['while copying', 1_000],
  ])('%s leaves the VM on the source', async (_, afterMs) => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(afterMs);
    expect(world.movers.cancel(MIGRATION)).toBe(true);
    await world.until(() => final(world, 'precopy') !== undefined);

    expect(final(world, 'precopy')).toEqual(failed('Cancelled'));
    expect(world.at('source')).toMatch(/^running/);
    await world.clock.runUntilIdle();
    expect(world.at('destination')).toBe('absent');
  });

  it('while held leaves the VM on the source', async () => {
    const world = await held();
    expect(world.movers.cancel(MIGRATION)).toBe(true);
    await cutOver(world);

    expect(final(world, 'cutover')).toEqual(failed('Cancelled'));
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
  });

  it('too late for libvirt, though not yet committed, still takes it all back', async () => {
    const world = await held();
    // libvirt's answer to the abort never comes; Perform returns instead.
    world.source.faults.set('abortJob', () => new Promise(() => {}));
    await world.movers.cutover(MIGRATION, cutoverRequest);
    await world.clock.advance(5);
    expect(world.movers.cancel(MIGRATION)).toBe(true);
    await world.until(() => final(world, 'cutover') !== undefined);

    expect(final(world, 'cutover')).toEqual(failed('Cancelled'));
    expect([world.at('source'), world.at('destination')]).toEqual(['running (migration canceled)', 'absent']);
    expect(world.mailbox.commitRecord).toBe('OPEN');
  });

  it('is refused once the commit is under way', async () => {
    const world = await held();
    let accepted: boolean | undefined;
    world.mailbox.onCommit = async (proceed) => {
      accepted = world.movers.cancel(MIGRATION);
      return proceed();
    };
    await cutOver(world);

    expect(accepted).toBe(false);
    expect(final(world, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });
});

describe('a mover that is killed', () => {
  it.each([
    ['while copying', async (world: World) => world.clock.advance(1_000), 'running (migration canceled)'],
    [
      'while held',
      async (world: World) => world.until(() => final(world, 'precopy') !== undefined),
      'running (migration canceled)',
    ],
    [
      'after Perform',
      async (world: World) => {
        world.mailbox.onCommit = () => new Promise(() => {});
        await world.until(() => final(world, 'precopy') !== undefined);
        await world.movers.cutover(MIGRATION, cutoverRequest);
        await world.until(() => world.at('source') === 'paused (migrating)');
      },
      'paused (migrating)',
    ],
  ])('%s leaves what libvirt leaves', async (_, until, source) => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await until(world);
    expect(await world.movers.fence(MIGRATION)).toBe('killed');
    await world.clock.advance(60_000);

    expect([world.at('source'), world.at('destination')]).toEqual([source, 'absent']);
    expect(await world.movers.fence(MIGRATION)).toBe('none');
  });
});
