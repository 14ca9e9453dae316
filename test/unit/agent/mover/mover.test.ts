import { describe, expect, it } from 'vitest';
import { connectionError, libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';

const cutoverRequest = `${MIGRATION}.cutover.source.1`;

/** A environment with the copy held, and the cutover not yet ordered. */
async function held(guest: ConstructorParameters<typeof AgentTestEnvironment>[0] = {}): Promise<AgentTestEnvironment> {
  const environment = new AgentTestEnvironment(guest);
  await environment.movers.start(environment.task('precopy'));
  await environment.until(() => environment.reportOf('precopy')?.kind === 'succeeded');
  return environment;
}

async function cutOver(environment: AgentTestEnvironment): Promise<void> {
  await environment.movers.cutover(MIGRATION, cutoverRequest);
  await environment.until(() => final(environment, 'cutover') !== undefined);
}

function final(environment: AgentTestEnvironment, stage: 'precopy' | 'cutover') {
  const report = environment.reportOf(stage);
  return report?.kind === 'progress' ? undefined : report;
}

const failed = (code: string) =>
  expect.objectContaining({ kind: 'failed', failure: expect.objectContaining({ code }) });

describe('pre-copy', () => {
  it('holds the copy, with the VM running on the source, and says for how long it surely can', async () => {
    const environment = await held();

    expect(final(environment, 'precopy')).toMatchObject({ kind: 'succeeded', result: { precopy: 'held' } });
    const { result } = final(environment, 'precopy') as {
      result: { guaranteedHoldSeconds: number; bytesRemaining: number };
    };
    expect(result.guaranteedHoldSeconds).toBeGreaterThanOrEqual(60);
    await environment.clock.advance(result.guaranteedHoldSeconds * 1_000);
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (booted)',
      'paused (migrating)',
    ]);
    expect(environment.mailbox.commitRecord).toBe('OPEN');
  });

  it('brakes a small guest on a fast link in time', async () => {
    const environment = await held({ memoryMiB: 512 });

    const { result } = final(environment, 'precopy') as { result: { precopy: string; bytesRemaining: number } };
    expect(result.precopy).toBe('held');
    expect(result.bytesRemaining).toBeGreaterThan(64 * 1_048_576);
  });

  it('reports its progress at most every 2 s, and at each change of phase', async () => {
    const environment = new AgentTestEnvironment({ memoryMiB: 20_000 });
    await environment.movers.start(environment.task('precopy'));
    await environment.until(() => final(environment, 'precopy') !== undefined);

    const copying = environment.mailbox.written.filter((r) => r.kind === 'progress' && r.progress.phase === 'copying');
    const times = copying.map(({ at }) => Date.parse(at));
    expect(times.length).toBeGreaterThan(3);
    for (const [i, time] of times.slice(1).entries()) expect(time - times[i]!).toBeGreaterThanOrEqual(2_000);
    expect(environment.mailbox.written.map(({ sequence }) => sequence)).toEqual(
      environment.mailbox.written.map(({ sequence }) => sequence).toSorted((a, b) => a - b),
    );
  });

  it('commits and goes through when an idle guest converges despite the brake', async () => {
    // Too little memory to hold for long, and nothing dirtied.
    const environment = new AgentTestEnvironment({ memoryMiB: 16, dirtyMiBps: 0, workingSetMiB: 0 });
    environment.source.faults.set('job', () => new Promise(() => {}));
    await environment.movers.start(environment.task('precopy'));
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toMatchObject({
      result: { precopy: 'completed', downtimeMs: expect.any(Number) },
    });
    expect(environment.at('destination')).toBe('running (migrated)');
    expect(environment.mailbox.commitRecord).toBe('COMMITTED');
    await environment.clock.runUntilIdle();
    expect(environment.at('source')).toBe('absent');
  });

  it('reports a hold that ended by itself to the cutover request that comes later', async () => {
    const environment = await held({ memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    await environment.until(() => environment.at('destination') === 'running (migrated)');
    await cutOver(environment);

    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded', result: { stage: 'cutover' } });
  });

  it('reports what libvirt said when the copy breaks, with the VM running on the source', async () => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(1_000);
    environment.destination.becomeUnreachable();
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toEqual(failed('CopyFailed'));
    expect(final(environment, 'precopy')).toMatchObject({ failure: { message: expect.stringContaining('was lost') } });
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it('ends the copy when the destination no longer answers, though QEMU itself does not notice', async () => {
    const environment = new AgentTestEnvironment();
    const stalled = Promise.withResolvers<never>();
    environment.source.faults.set('perform', () => stalled.promise);
    environment.source.faults.set('abortJob', async () => stalled.reject(libvirtError('migration canceled')));
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(1_000);
    environment.destination.severConnections();
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toEqual(failed('CopyFailed'));
    expect(final(environment, 'precopy')).toMatchObject({ failure: { message: expect.stringContaining('was lost') } });
  });

  it('leaves it to recovery to look when its own libvirt is gone, instead of asking a dead connection', async () => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(1_000);
    environment.source.restartDaemon();
    await environment.until(() => final(environment, 'precopy') !== undefined, 5_000);

    expect(final(environment, 'precopy')).toEqual(failed('CopyFailed'));
  });

  it('says at once that the guest has ended, instead of waiting for it to run on', async () => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(1_000);
    environment.source.killQemu(VM);
    await environment.until(() => final(environment, 'precopy') !== undefined, 5_000);

    expect(final(environment, 'precopy')).toMatchObject({
      failure: { message: expect.stringContaining('shut off (crashed)') },
    });
  });

  it('is heard of while it waits for the destination to prepare', async () => {
    const environment = new AgentTestEnvironment();
    environment.destination.faults.set('prepare', async (proceed) => {
      await environment.clock.sleep(20_000);
      return proceed();
    });
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(19_000);

    const beats = environment.mailbox.written.filter((r) => r.kind === 'progress' && r.progress.phase === 'preparing');
    expect(beats.length).toBeGreaterThanOrEqual(8);
  });

  it('gives up at the deadline', async () => {
    const environment = new AgentTestEnvironment({ memoryMiB: 100_000 });
    await environment.movers.start(
      environment.task('precopy', { policy: { ...environment.task('precopy').policy, deadlineSeconds: 5 } }),
    );
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toEqual(failed('DeadlineExceeded'));
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it.each([['REVOKED'], ['COMMITTED'], [undefined]] as const)(
    'does not begin when its commit record is %s',
    async (commitRecord) => {
      const environment = new AgentTestEnvironment();
      environment.mailbox.commitRecord = commitRecord;
      await environment.movers.start(environment.task('precopy'));
      await environment.until(() => final(environment, 'precopy') !== undefined);

      expect(final(environment, 'precopy')).toEqual(failed('CommitRevoked'));
      expect(environment.at('destination')).toBe('absent');
    },
  );

  it('reports an unreachable destination', async () => {
    const environment = new AgentTestEnvironment();
    environment.destination.becomeUnreachable();
    await environment.movers.start(environment.task('precopy'));
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toEqual(failed('HypervisorUnreachable'));
  });
});

describe('the handover', () => {
  it('commits between Perform and Finish, and reports before the source copy is gone', async () => {
    const environment = await held();
    const seenAtCommit: string[] = [];
    environment.mailbox.onCommit = async (proceed) => {
      seenAtCommit.push(environment.at('source'), environment.at('destination'));
      return proceed();
    };
    await cutOver(environment);

    expect(seenAtCommit).toEqual(['paused (migrating)', 'paused (migrating)']);
    expect(final(environment, 'cutover')).toMatchObject({
      kind: 'succeeded',
      result: { stage: 'cutover', downtimeMs: expect.any(Number), commitMs: 0 },
    });
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'paused (migrating)',
      'running (migrated)',
    ]);
    await environment.clock.advance(2_000);
    expect([environment.at('source'), environment.at('destination')]).toEqual(['absent', 'running (migrated)']);
  });

  it('copies what was held with the guest running, and stops it only for the last few MiB', async () => {
    const environment = await held({ memoryMiB: 16_384, workingSetMiB: 4 });
    const { result: hold } = final(environment, 'precopy') as unknown as { result: { bytesRemaining: number } };
    // What is held would fit into the budget at once: 300 ms at 1,100 MiB/s.
    expect(hold.bytesRemaining).toBeGreaterThan(300 * 1_048_576);
    await cutOver(environment);

    const { result } = final(environment, 'cutover') as unknown as { result: { downtimeMs: number } };
    expect(result.downtimeMs).toBeLessThan(60);
  });

  it('is not cancelled by a Confirm that fails', async () => {
    const environment = await held();
    environment.source.faults.set('confirm', async () => {
      throw connectionError('gone');
    });
    await cutOver(environment);

    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
    await environment.clock.advance(5_000);
    expect(environment.logged.filter(({ level }) => level !== 'info')).toEqual([
      expect.objectContaining({
        level: 'warn',
        message: expect.stringContaining('Confirm failed'),
        migrationId: MIGRATION,
      }),
    ]);
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'paused (migrating)',
      'running (migrated)',
    ]);
  });

  it.each([
    ['revoked', 'CommitRevoked'],
    ['unknown', 'CommitUnknown'],
  ] as const)('is taken back when the commit is %s', async (outcome, code) => {
    const environment = await held();
    environment.mailbox.onCommit = async () => outcome;
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed(code));
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it('resumes the source only after the destination copy is gone', async () => {
    const environment = await held();
    environment.mailbox.onCommit = async () => 'unknown';
    let atConfirm = '';
    environment.source.faults.set('confirm', (proceed) => {
      atConfirm = environment.at('destination');
      return proceed();
    });
    await cutOver(environment);

    expect(atConfirm).toBe('absent');
  });

  it('is taken back when the destination says that it could not start the VM', async () => {
    const environment = await held();
    environment.destination.faults.set('finish', async () => {
      environment.destination.copies.delete(VM);
      throw libvirtError('Failed to start domain: could not lock image');
    });
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('HandoverCancelled'));
    expect(environment.at('source')).toBe('running (migration canceled)');
  });

  describe("when the destination's answer is lost", () => {
    /** The call's connection goes, before or after the daemon has carried it out. */
    async function losing(environment: AgentTestEnvironment, carriedOut: boolean): Promise<void> {
      environment.destination.faults.set('finish', async (proceed) => {
        if (carriedOut) await proceed();
        environment.destination.severConnections();
        return new Promise(() => {});
      });
    }

    it('confirms when the VM is seen running there', async () => {
      const environment = await held();
      await losing(environment, true);
      await cutOver(environment);

      expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
      await environment.clock.advance(2_000);
      expect([environment.at('source'), environment.at('destination')]).toEqual(['absent', 'running (migrated)']);
    });

    it('resumes the source when libvirt there says that it has no such VM', async () => {
      const environment = await held();
      await losing(environment, false);
      await cutOver(environment);

      expect(final(environment, 'cutover')).toEqual(failed('HandoverCancelled'));
      expect([environment.at('source'), environment.at('destination')]).toEqual([
        'running (migration canceled)',
        'absent',
      ]);
    });

    it.each([[true], [false]])('leaves the source paused when nobody answers there (carried out: %s)', async (ran) => {
      const environment = await held();
      environment.destination.faults.set('finish', async (proceed) => {
        if (ran) await proceed();
        environment.destination.becomeUnreachable();
        return new Promise(() => {});
      });
      await cutOver(environment);

      expect(final(environment, 'cutover')).toEqual(failed('FinishUnknown'));
      expect(environment.at('source')).toBe('paused (migrating)');
      await environment.clock.runUntilIdle();
      expect(environment.at('source')).toBe('paused (migrating)');
      expect(environment.mailbox.commitRecord).toBe('COMMITTED');
    });

    it('waits while Finish may still be under way, and beats its heart meanwhile', async () => {
      const environment = await held();
      environment.destination.faults.set('finish', async () => {
        // The daemon is still at it when the connection goes, and done 10 s later.
        const copy = environment.destination.copies.get(VM)!;
        delete copy.preparedBy;
        void environment.clock.sleep(10_000).then(() => environment.destination.run(copy.guest, 'running (migrated)'));
        environment.destination.severConnections();
        return new Promise(() => {});
      });
      await environment.movers.cutover(MIGRATION, cutoverRequest);
      await environment.clock.advance(9_000);
      expect(environment.at('source')).toBe('paused (migrating)');
      expect(environment.reportOf('cutover')).toMatchObject({ kind: 'progress', progress: { phase: 'finishing' } });
      await environment.clock.advance(5_000);

      expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
      expect([environment.at('source'), environment.at('destination')]).toEqual(['absent', 'running (migrated)']);
    });
  });
});

describe('announcing the hold', () => {
  const ANNOUNCE_MS = 3_000;

  /** A environment whose mover has said that the hold is near. */
  async function near(
    guest: ConstructorParameters<typeof AgentTestEnvironment>[0] = { memoryMiB: 8_192 },
  ): Promise<AgentTestEnvironment> {
    const environment = new AgentTestEnvironment(guest);
    await environment.movers.start(environment.task('precopy', { announceMs: ANNOUNCE_MS }));
    await environment.until(() => final(environment, 'precopy') !== undefined);
    expect(final(environment, 'precopy')).toMatchObject({ kind: 'succeeded', result: { precopy: 'approaching' } });
    return environment;
  }
  const phases = (environment: AgentTestEnvironment) =>
    environment.mailbox.written.flatMap((report) => (report.kind === 'progress' ? [report.progress.phase] : []));

  it('lets the copy through without a hold when the cutover comes in time', async () => {
    const environment = await near();
    const since = environment.clock.now();
    await environment.movers.cutover(MIGRATION, cutoverRequest);
    await environment.until(() => final(environment, 'cutover') !== undefined);

    expect(environment.clock.now() - since).toBeLessThan(ANNOUNCE_MS + 1_000);
    expect(phases(environment)).not.toContain('held');
    const { result } = final(environment, 'cutover') as { result: Record<string, unknown> };
    expect(result).not.toHaveProperty('guaranteedHoldSeconds');
    expect(environment.at('destination')).toBe('running (migrated)');
  });

  it('holds when it does not, and tells the cutover that comes later for how long it could', async () => {
    const environment = await near();
    await environment.clock.advance(30_000);
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (booted)',
      'paused (migrating)',
    ]);
    await cutOver(environment);

    expect(final(environment, 'cutover')).toMatchObject({ result: { guaranteedHoldSeconds: expect.any(Number) } });
    expect(environment.at('destination')).toBe('running (migrated)');
  });

  it('holds while AWS does not say that the commit record is open', async () => {
    const environment = await near();
    environment.mailbox.awsAway = true;
    await environment.movers.cutover(MIGRATION, cutoverRequest);
    await environment.clock.advance(30_000);
    expect(environment.at('source')).toBe('running (booted)');
    environment.mailbox.awsAway = false;
    await environment.until(() => final(environment, 'cutover') !== undefined);

    expect(final(environment, 'cutover')).toMatchObject({ result: { guaranteedHoldSeconds: expect.any(Number) } });
    expect(environment.at('destination')).toBe('running (migrated)');
  });

  it('ends when the commit record is revoked, before the guest is touched', async () => {
    const environment = await near();
    environment.mailbox.commitRecord = 'REVOKED';
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('CommitRevoked'));
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it('keeps an end that comes before the cutover for it', async () => {
    const environment = await near();
    environment.destination.becomeUnreachable();
    await environment.until(() => environment.at('source') === 'running (migration canceled)');
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('CopyFailed'));
  });
});

describe('holding', () => {
  it('goes on while AWS is away, and hands over when it is back', async () => {
    const environment = await held();
    environment.mailbox.awsAway = true;
    await environment.movers.cutover(MIGRATION, cutoverRequest);
    await environment.clock.advance(30_000);
    expect(environment.at('source')).toBe('running (booted)');
    environment.mailbox.awsAway = false;
    await environment.until(() => final(environment, 'cutover') !== undefined);

    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
    expect(environment.at('destination')).toBe('running (migrated)');
  });

  it('takes the handover back when the rest runs out while AWS is away', async () => {
    const environment = await held({ memoryMiB: 256, dirtyMiBps: 0, workingSetMiB: 0 });
    environment.mailbox.awsAway = true;
    await environment.until(() => environment.at('source') === 'running (migration canceled)');
    environment.mailbox.awsAway = false;
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('CommitUnknown'));
    expect(environment.at('destination')).toBe('absent');
  });

  it('ends when the commit record is revoked, before the guest is touched', async () => {
    const environment = await held();
    environment.mailbox.commitRecord = 'REVOKED';
    let performed = false;
    environment.source.faults.set('confirm', async () => {
      performed = true;
    });
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('CommitRevoked'));
    expect(performed).toBe(false);
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it('accepts a cutover that comes before the copy is held', async () => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(500);
    await cutOver(environment);

    expect(final(environment, 'precopy')).toMatchObject({ result: { precopy: 'held' } });
    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });

  it('does not count against the deadline', async () => {
    const environment = new AgentTestEnvironment({ dirtyMiBps: 200, workingSetMiB: 1_000 });
    const { policy } = environment.task('precopy');
    await environment.movers.start(environment.task('precopy', { policy: { ...policy, deadlineSeconds: 10 } }));
    await environment.until(() => final(environment, 'precopy') !== undefined);
    await environment.clock.advance(60_000);
    await cutOver(environment);

    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });

  it('ends at the deadline after the cutover when the guest dirties faster than the link copies', async () => {
    const environment = new AgentTestEnvironment({ dirtyMiBps: 3_000, workingSetMiB: 3_000 });
    const { policy } = environment.task('precopy');
    await environment.movers.start(environment.task('precopy', { policy: { ...policy, deadlineSeconds: 20 } }));
    await environment.until(() => final(environment, 'precopy') !== undefined);
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('DeadlineExceeded'));
    expect(environment.at('source')).toBe('running (migration canceled)');
  });
});

describe('cancelling', () => {
  it.each([
    ['before the copy', 5],
    ['while copying', 1_000],
  ])('%s leaves the VM on the source', async (_, afterMs) => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(afterMs);
    expect(environment.movers.cancel(MIGRATION)).toBe(true);
    await environment.until(() => final(environment, 'precopy') !== undefined);

    expect(final(environment, 'precopy')).toEqual(failed('Cancelled'));
    expect(environment.at('source')).toMatch(/^running/);
    await environment.clock.runUntilIdle();
    expect(environment.at('destination')).toBe('absent');
  });

  it('while held leaves the VM on the source', async () => {
    const environment = await held();
    expect(environment.movers.cancel(MIGRATION)).toBe(true);
    await cutOver(environment);

    expect(final(environment, 'cutover')).toEqual(failed('Cancelled'));
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
  });

  it('too late for libvirt, though not yet committed, still takes it all back', async () => {
    const environment = await held();
    // libvirt's answer to the abort never comes; Perform returns instead.
    environment.source.faults.set('abortJob', () => new Promise(() => {}));
    await environment.movers.cutover(MIGRATION, cutoverRequest);
    await environment.clock.advance(5);
    expect(environment.movers.cancel(MIGRATION)).toBe(true);
    await environment.until(() => final(environment, 'cutover') !== undefined);

    expect(final(environment, 'cutover')).toEqual(failed('Cancelled'));
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
    expect(environment.mailbox.commitRecord).toBe('OPEN');
  });

  it('is refused once the commit is under way', async () => {
    const environment = await held();
    let accepted: boolean | undefined;
    environment.mailbox.onCommit = async (proceed) => {
      accepted = environment.movers.cancel(MIGRATION);
      return proceed();
    };
    await cutOver(environment);

    expect(accepted).toBe(false);
    expect(final(environment, 'cutover')).toMatchObject({ kind: 'succeeded' });
  });
});

describe('the log of a migration', () => {
  it('shows every phase, decision and outcome, each with the migration, its request and its host', async () => {
    const environment = await held();
    await cutOver(environment);
    await environment.clock.advance(5_000);

    expect(environment.logged.map(({ message }) => message)).toEqual([
      'mover started',
      'copying',
      'held',
      'hold reached',
      'cutover requested',
      'switching',
      'commit answered',
      'switched',
      'mover ended',
    ]);
    const [first, last] = [environment.logged[0], environment.logged.at(-1)];
    const common = { level: 'info', migrationId: MIGRATION, hostId: 'kvm-a' };
    expect(first).toMatchObject({ ...common, requestId: `${MIGRATION}.precopy.source.1`, stage: 'precopy' });
    expect(last).toMatchObject({ ...common, requestId: cutoverRequest, stage: 'cutover' });
    expect(environment.logged).toContainEqual(
      expect.objectContaining({ message: 'switched', downtimeMs: expect.any(Number), blackout: expect.anything() }),
    );
  });

  it('names the failure', async () => {
    const environment = await held();
    environment.mailbox.commitRecord = 'REVOKED';
    await cutOver(environment);

    expect(environment.logged).toContainEqual(
      expect.objectContaining({
        level: 'error',
        message: expect.stringMatching(/^migration failed: .*REVOKED/),
        code: 'CommitRevoked',
        phase: 'held',
      }),
    );
  });
});

describe('a mover that is killed', () => {
  it.each([
    [
      'while copying',
      async (environment: AgentTestEnvironment) => environment.clock.advance(1_000),
      'running (migration canceled)',
    ],
    [
      'while held',
      async (environment: AgentTestEnvironment) => environment.until(() => final(environment, 'precopy') !== undefined),
      'running (migration canceled)',
    ],
    [
      'after Perform',
      async (environment: AgentTestEnvironment) => {
        environment.mailbox.onCommit = () => new Promise(() => {});
        await environment.until(() => final(environment, 'precopy') !== undefined);
        await environment.movers.cutover(MIGRATION, cutoverRequest);
        await environment.until(() => environment.at('source') === 'paused (migrating)');
      },
      'paused (migrating)',
    ],
  ])('%s leaves what libvirt leaves', async (_, until, source) => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await until(environment);
    expect(await environment.movers.fence(MIGRATION)).toBe('killed');
    await environment.clock.advance(60_000);

    expect([environment.at('source'), environment.at('destination')]).toEqual([source, 'absent']);
    expect(await environment.movers.fence(MIGRATION)).toBe('none');
  });
});
