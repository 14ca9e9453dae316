import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Procedure } from '../../agent/libvirt/protocol.ts';
import { type Direction, type Fate, MessageRelay } from '../../lab/clients/message-relay.ts';
import { ended, reaches, request } from '../../lab/clients/migrations.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { exec } from '../../lab/hosts/node.ts';
import { addressOf, type HostName } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

/**
 * The mover is killed at exact points of the handshake. Its way to the destination leads through a relay that knows the
 * messages; its way to the commit record is watched in the embedded AWS.
 */
/** Cases of `npm run test:lab:full` alone: what they show on libvirt, test/lab/model.test.ts shows of a client that dies there. */
const whole = <Case>(...cases: Case[]): Case[] => (process.env.HANDOFF_TEST_FULL === undefined ? [] : cases);

describeWithManagedLab('the mover is killed', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  const relays = new Map<HostName, MessageRelay>();
  let address: string;
  let home: HostName = 'kvm1';
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
    address = guestAddress(lab);
    for (const host of lab.hosts) {
      const relay = await MessageRelay.start(addressOf(lab, 'machine'), addressOf(lab, host));
      relays.set(host, relay);
      await managed.api.call('PUT', `/hosts/${host}`, {
        body: {
          nodeId: managed.nodeIdOf(host),
          address: addressOf(lab, host),
          libvirtUri: `qemu+tcp://${addressOf(lab, 'machine')}:${relay.port}/system`,
        },
      });
    }
    await startGuest(lab, 'kvm1', { name: 'web', address });
  });
  afterEach(() => {
    for (const relay of relays.values()) relay.rule();
    managed.aws.intercept(undefined);
  });
  afterAll(async () => {
    for (const relay of relays.values()) await relay.stop();
  });

  const killMover = async (migrationId: string): Promise<void> => {
    const { exitCode } = await exec(lab, home, ['pkill', '-KILL', '-f', `mover ${migrationId}\\.`]);
    expect(exitCode, 'there was a mover to kill').toBe(0);
  };

  /** Starts a migration away from where the VM is, kills its mover where `at` says, and follows it to its end. */
  async function migrateAndKill(
    at: (kill: () => Promise<void>, migrationId: () => string) => void | Promise<void>,
    cutover: 'automatic' | 'manual' = 'automatic',
  ) {
    const to: HostName = home === 'kvm1' ? 'kvm2' : 'kvm1';
    const before = await guestStatus(address);
    let migrationId = '';
    let killed = false;
    const kill = async () => {
      if (killed) return;
      killed = true;
      await killMover(migrationId);
    };
    const watching = at(kill, () => migrationId);
    migrationId = await request(managed, {
      vm: 'web',
      from: home,
      to,
      policy: { heartbeatTimeoutSeconds: 10, cutover },
    });
    await watching;
    // Nobody listens to a mover that waits for the word: its end is noticed when the word is given.
    if (cutover === 'manual') await managed.api.call('POST', `/migrations/${migrationId}/cutover`);
    const view = await ended(managed, migrationId);
    expect(killed, `the mover was killed: ${JSON.stringify(view.failure)}`).toBe(true);
    const states = { source: await stateOn(lab, home, 'web'), destination: await stateOn(lab, to, 'web') };
    const running = [states.source, states.destination].filter((state) => state?.startsWith('running'));
    expect(running, JSON.stringify({ states, view }, undefined, 1)).toHaveLength(1);
    // A second running copy would have overwritten ticks on the one disk.
    await until('the guest answers', () => guestStatus(address).catch(() => undefined));
    expect(await guestStatus(address)).toMatchObject({ bootId: before.bootId, patternErrors: 0, diskErrors: 0 });
    if (view.runsOn === to) home = to;
    return { view, states, from: view.source, to };
  }

  const atMessage = (when: Direction, procedure: Procedure, after?: Procedure) => (kill: () => Promise<void>) => {
    let armed = after === undefined;
    for (const relay of relays.values()) {
      relay.rule(async (direction, name): Promise<Fate> => {
        if (name === after && direction === 'reply') armed = true;
        if (armed && direction === when && name === procedure) await kill();
        return 'pass';
      });
    }
  };
  const atPhase = (phase: string) => async (kill: () => Promise<void>, migrationId: () => string) => {
    const id = await until('it is asked for', () => migrationId() || undefined);
    await reaches(managed, id, `is ${phase}`, ({ progress }) => progress?.phase === phase);
    await kill();
  };
  /** Before the commit is carried out, or after that and before the mover hears of it. */
  const atCommit = (when: 'before' | 'after') => (kill: () => Promise<void>) => {
    managed.aws.intercept(async ({ service, operation, input }, next) => {
      const commits =
        service === 'dynamodb' && operation === 'UpdateItem' && JSON.stringify(input).includes('committedBy');
      if (commits && when === 'before') {
        await kill();
        throw new Error('the mover is dead');
      }
      const answer = await next();
      if (commits) await kill();
      return answer;
    });
  };

  it.each([
    ...whole(
      ['when the destination has prepared', 'automatic', atMessage('reply', 'DOMAIN_MIGRATE_PREPARE3_PARAMS')] as const,
      ['while it holds', 'manual', atPhase('held')] as const,
    ),
    ['when everything is over there, before the commit', 'automatic', atCommit('before')],
    ['after the commit, before Finish', 'automatic', atCommit('after')],
  ] as const)(
    '%s: the VM runs on at the source',
    async (_, cutover, at) => {
      const { view, from } = await migrateAndKill(at, cutover);
      expect(view, JSON.stringify(view.timeline)).toMatchObject({ status: 'FAILED', runsOn: from });
    },
    180_000,
  );

  it.each([
    ['while Finish is under way', atMessage('call', 'DOMAIN_MIGRATE_FINISH3_PARAMS')],
    ...whole(['after Finish, before its answer is read', atMessage('reply', 'DOMAIN_MIGRATE_FINISH3_PARAMS')] as const),
    ['after Finish, before Confirm', atMessage('call', 'DOMAIN_GET_JOB_STATS', 'DOMAIN_MIGRATE_FINISH3_PARAMS')],
  ] as const)(
    '%s: the VM runs where it was seen to run, and only there',
    async (_, at) => {
      const { view, from, to } = await migrateAndKill(at);
      expect([from, to]).toContain(view.runsOn);
      expect(['SUCCEEDED', 'FAILED']).toContain(view.status);
      expect(view.status === 'SUCCEEDED').toBe(view.runsOn === to);
    },
    180_000,
  );

  it('and the connection to the destination is cut while Finish is under way: the mover looks before it acts', async () => {
    const to: HostName = home === 'kvm1' ? 'kvm2' : 'kvm1';
    let cut = false;
    relays.get(to)?.rule((direction, name) => {
      if (cut || direction !== 'reply' || name !== 'DOMAIN_MIGRATE_FINISH3_PARAMS') return 'pass';
      cut = true;
      relays.get(to)?.cut();
      return 'swallow';
    });
    const view = await ended(managed, await request(managed, { vm: 'web', from: home, to }));
    expect(cut).toBe(true);
    // Everybody else resumes the source here, and the VM runs twice.
    expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: to });
    expect(await stateOn(lab, home, 'web')).toBeUndefined();
    expect(await stateOn(lab, to, 'web')).toMatch(/^running/);
    expect(await guestStatus(address)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
    home = to;
  }, 180_000);
});
