import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, it } from 'vitest';
import type { AgentDeps } from '../../agent/deps.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import { abort } from '../../agent/stages/abort.ts';
import { getMigration } from '../../cli/follow-migration.ts';
import { systemClock } from '../../common/clock.ts';
import type { MigrationView } from '../../contract/api.ts';
import { requestIdOf } from '../../contract/names.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { CONTRACT_VERSION } from '../../contract/version.ts';
import { ended, request } from '../../lab/clients/migrations.ts';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { MigrationLink } from '../../lab/hosts/migration-link.ts';
import { exec, execText } from '../../lab/hosts/node.ts';
import { addressOf, type HostName, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

/**
 * A guest that dirties memory three times as fast as the link carries it, and a policy that lets it switch first and fetch the
 * rest of its memory afterwards.
 */
describeWithManagedLab('post-copy', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  let link: MigrationLink;
  let home: HostName = 'kvm1';
  let address: string;
  const policy = { onNonConvergence: 'postcopy' as const, autoConverge: false, heartbeatTimeoutSeconds: 10 };
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
    address = guestAddress(lab);
    link = await MigrationLink.between(lab, 'kvm1', 'kvm2');
    await startGuest(lab, 'kvm1', { name: 'web', address, memoryMiB: 384, workingSetMiB: 150, dirtyMiBps: 120 });
  });
  afterEach(() => link.limit(undefined));

  /** Migrates to the other host, does `during` once the guest runs there by post-copy, and sees that it came through unharmed. */
  async function move(
    during?: (migrationId: string, to: HostName) => Promise<void>,
    { connected = true } = {},
  ): Promise<MigrationView> {
    const from = home;
    const to: HostName = home === 'kvm1' ? 'kvm2' : 'kvm1';
    await link.limit(30);
    const before = await guestStatus(address);
    const tcp = connected ? await startTcp(lab, address) : undefined;
    const migrationId = await request(managed, { vm: 'web', from, to, guestAddress: address, policy });
    if (during !== undefined) {
      await until(
        'it runs by post-copy',
        async () => {
          const state = await stateOn(lab, to, 'web');
          if (state === undefined && (await getMigration(managed.api, migrationId)).endedAt !== undefined) {
            throw new Error(`it ended: ${JSON.stringify(await getMigration(managed.api, migrationId))}`);
          }
          return state === 'running (post-copy)';
        },
        { timeoutMs: 60_000 },
      );
      await during(migrationId, to);
    }
    const view = await ended(managed, migrationId);
    expect(view, JSON.stringify(view.failure ?? view.timeline)).toMatchObject({ status: 'SUCCEEDED', runsOn: to });
    expect(await stateOn(lab, from, 'web')).toBeUndefined();
    expect(await stateOn(lab, to, 'web')).toMatch(/^running \((migrated|post-copy)\)/);
    const after = await until('the guest answers', () => guestStatus(address).catch(() => undefined));
    expect(after).toMatchObject({ bootId: before.bootId, pid: before.pid, patternErrors: 0, diskErrors: 0 });
    expect(after.ticks).toBeGreaterThan(before.ticks);
    if (tcp !== undefined) expect(await tcp.stop()).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    home = to;
    return view;
  }

  /**
   * Both ends of the stream are told that it is gone, as when a firewall between them forgets it. Not at once: the guest's kernel
   * has what it needs by then, and waits for pages of its programs only. An emulated guest that waits for one while an interrupt is
   * delivered holds QEMU's lock meanwhile, and could not be resumed.
   */
  const breakStream = async (to: HostName) => {
    await sleep(2_000);
    const killed = await execText(lab, home, ['ss', '-HK', 'dst', addressOf(lab, to), 'dport', 'ge', ':49152']);
    expect(killed, 'there was a stream to break').toContain('ESTAB');
  };
  const decisions = (view: MigrationView) => view.timeline.map(({ event }) => event).join('\n');

  it('takes over a guest that does not converge; its memory and its TCP connection live through it', async () => {
    const view = await move();
    expect(view.result).toMatchObject({ postCopy: true, commitMs: 0 });
    expect(view.result?.downtimeMs).toBeGreaterThan(0);
    expect(view.result?.activeMs).toBeGreaterThan(0);
    expect(decisions(view)).toContain('post-copy');
  }, 180_000);

  /**
   * Not on every run: an emulated guest whose vCPU meets a missing page while it holds QEMU's lock can't be told to resume at all
   * (agent/mover/post-copy.ts), and which pages are missing is chance. `HANDOFF_TEST_RESUME=1` runs these.
   */
  const whereQemuTakesIt = it.runIf(process.env.HANDOFF_TEST_RESUME === '1');

  whereQemuTakesIt(
    'is resumed by its mover when the stream breaks',
    async () => {
      const view = await move((_, to) => breakStream(to), { connected: false });
      expect(view.result).toMatchObject({ postCopy: true });
      expect(decisions(view)).toContain('post-copy broken, to be resumed');
      expect(view.timeline.map(({ event }) => event)).not.toContain('recovery: act');
    },
    180_000,
  );

  it('goes through without its mover: libvirt fetches the rest, and recovery clears the source', async () => {
    const view = await move((migrationId) => killMover(migrationId));
    expect(decisions(view)).toContain('recovery: act');
  }, 180_000);

  // Recovery comes seconds later than this, and a QEMU whose main loop has met a missing page can't be told to resume any more.
  whereQemuTakesIt(
    "is resumed by recovery's hand when the mover died and the stream broke",
    async () => {
      await move(
        async (migrationId, to) => {
          await killMover(migrationId);
          await breakStream(to);
          await until('it is broken', async () => (await stateOn(lab, to, 'web')) === 'running (post-copy failed)');
          const { done } = await abort(agentOf(home), resumeOrder(migrationId, to));
          expect(done).toMatch(/^resumed/);
        },
        { connected: false },
      );
    },
    180_000,
  );

  async function killMover(migrationId: string): Promise<void> {
    const { exitCode } = await exec(lab, home, ['pkill', '-KILL', '-f', `mover ${migrationId}\\.`]);
    expect(exitCode, 'there was a mover to kill').toBe(0);
  }

  /** What the stage needs of an agent. */
  const agentOf = (host: HostName) =>
    ({
      clock: systemClock,
      connect: (uri: string) => connectLibvirt(uri),
      localUri: libvirtUriOf(lab, host),
      resumeAlways: true,
    }) as unknown as AgentDeps;
  const hostOf = (host: HostName) => ({
    hostId: host,
    address: addressOf(lab, host),
    libvirtUri: libvirtUriOf(lab, host),
  });
  const resumeOrder = (migrationId: string, to: HostName): TaskOf<'abort'> => ({
    version: CONTRACT_VERSION,
    requestId: requestIdOf(migrationId, 'abort', 'source', 99),
    migrationId,
    role: 'source',
    hostId: home,
    issuedAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    vm: 'web',
    source: hostOf(home),
    destination: hostOf(to),
    stage: 'abort',
    action: 'resume-postcopy',
  });
});
