import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Procedure } from '../../agent/libvirt/protocol.ts';
import { followMigration } from '../../cli/follow-migration.ts';
import { MIB } from '../../common/units.ts';
import type { MigrationView } from '../../contract/api.ts';
import type { Progress } from '../../contract/facts.ts';
import { MessageRelay } from '../../lab/clients/message-relay.ts';
import { ended, migrate, reaches, request } from '../../lab/clients/migrations.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { type GuestStatus, guestStatus, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { exec, execText } from '../../lab/hosts/node.ts';
import { addressOf, folderOf, type HostName } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

const PAGE = 4_096;
const DISK_MIB = 200;
const HELD_MS = 3_000;
/** Where the guest's own ring of ticks does not come in the time of these tests. */
const FILLED_FROM_MIB = 100;

/**
 * A guest whose disk is a file that only its host has; /var/lib/libvirt is each lab host's own. All the time it writes a tick every
 * 100 ms to the disk's beginning, and looks whether earlier ones are still there (guest/guest.c).
 */
describeWithManagedLab('copying disks along', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  let address: string;
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
    address = guestAddress(lab);
    await startGuest(lab, 'kvm1', { name: 'web', address, memoryMiB: 256, disk: 'local', diskMiB: DISK_MIB });
    await fill(imageOn(lab, 'kvm1', 'web'));
    whenAgentDies = await migrateUnderDyingAgent();
    await until('the agent is dead', () => existsSync(join(folderOf(lab, 'kvm2'), 'run/killed')), {
      timeoutMs: 60_000,
    });
  });

  /**
   * The destination's agent is killed as it makes the image. Recovery waits until the agent's task has expired (60 s), because no other
   * process can know that the task is not being worked on; meanwhile the tests of the other guest run.
   */
  let whenAgentDies: { ended: Promise<MigrationView>; before: GuestStatus };
  async function migrateUnderDyingAgent(): Promise<typeof whenAgentDies> {
    const cut = guestAddress(lab, 103);
    await startGuest(lab, 'kvm1', { name: 'cut', address: cut, memoryMiB: 128, disk: 'local' });
    const before = await guestStatus(cut);
    // In the place of the real one on the host's PATH.
    const script = `#!/bin/sh
      /usr/bin/qemu-img "$@" || exit
      case "$*" in *.handoff-cut-*) touch /run/killed; kill -KILL $PPID;; esac
      :`;
    await writeFile(join(folderOf(lab, 'kvm2'), 'run/bin/qemu-img'), script, { mode: 0o755 });
    const wish = { vm: 'cut', from: 'kvm1', to: 'kvm2', guestAddress: cut, policy } as const;
    const ended = migrate(managed, wish);
    // Reported by the test that awaits it.
    ended.catch(() => {});
    return { ended, before };
  }

  const move = () => ({ vm: 'web', from: 'kvm1', to: 'kvm2', guestAddress: address }) as const;
  /** Slow enough for the copy to be met on its way. */
  const policy = { migrateStorage: true, bandwidthMiBps: 40, heartbeatTimeoutSeconds: 10 };

  /** Asks for the move, and does `then` while its disk is being copied. */
  async function interrupted(then: (migrationId: string) => Promise<unknown>): Promise<MigrationView> {
    const before = await guestStatus(address);
    const migrationId = await request(managed, { ...move(), policy });
    await reaches(
      managed,
      migrationId,
      'has some of the disk copied',
      ({ progress }) => progress?.phase === 'copying-disks' && (progress.disks?.bytesProcessed ?? 0) > 0,
    );
    expect(await imagesOn(lab, 'kvm2', 'web')).toHaveLength(2);
    await then(migrationId);
    const view = await ended(managed, migrationId);
    expect(view.runsOn, JSON.stringify(view.failure)).toBe('kvm1');
    expect(await stateOn(lab, 'kvm1', 'web')).toMatch(/^running/);
    expect(await stateOn(lab, 'kvm2', 'web')).toBeUndefined();
    expect(await imagesOn(lab, 'kvm2', 'web'), 'nothing is left of it').toEqual([]);
    await unharmed(address, before);
    return view;
  }

  it('leaves nothing on the destination when the mover dies on the way', async () => {
    const view = await interrupted(async (migrationId) => {
      const { exitCode } = await exec(lab, 'kvm1', ['pkill', '-KILL', '-f', `mover ${migrationId}\\.`]);
      expect(exitCode, 'there was a mover to kill').toBe(0);
    });
    expect(view.status).toBe('FAILED');
    expect(view.failure?.code).toBe('MoverGone');
  }, 180_000);

  it('leaves nothing on the destination when it is cancelled on the way', async () => {
    const view = await interrupted((migrationId) => managed.api.call('POST', `/migrations/${migrationId}/cancel`));
    expect(view.status).toBe('CANCELLED');
  }, 180_000);

  it('is refused where the policy does not allow it, and says what would', async () => {
    const { failure } = await migrate(managed, move());
    expect(failure?.code).toBe('PreflightFailed');
    expect(failure?.message).toContain('migrateStorage');
    expect(await imagesOn(lab, 'kvm2', 'web')).toEqual([]);
  }, 120_000);

  it('never writes over an image, and leaves it as it is', async () => {
    const inTheWay = imageOn(lab, 'kvm2', 'web');
    await execText(lab, 'kvm2', ['sh', '-c', 'echo precious > /var/lib/libvirt/web.raw']);
    const { failure } = await migrate(managed, { ...move(), policy });
    expect(failure?.code).toBe('PreflightFailed');
    expect(failure?.message).toContain('/var/lib/libvirt/web.raw is there already');
    expect(await readFile(inTheWay, 'utf8')).toBe('precious\n');
    await execText(lab, 'kvm2', ['rm', '/var/lib/libvirt/web.raw']);
  }, 120_000);

  it('moves the guest with its disk; every byte of it comes along, those written on the way too', async () => {
    const before = await guestStatus(address);
    const seen: Progress[] = [];
    // Held for a while: the brake is for the memory, and what the guest writes then is copied as ever.
    const held = { ...policy, bandwidthMiBps: 60, cutover: 'manual' } as const;
    const migrationId = await request(managed, { ...move(), policy: held });
    let ordered: Promise<unknown> | undefined;
    const view = await followMigration(
      managed.api,
      migrationId,
      ({ progress, status }) => {
        if (progress) seen.push(progress);
        if (status === 'HELD')
          ordered ??= sleep(HELD_MS).then(() => managed.api.call('POST', `/migrations/${migrationId}/cutover`));
      },
      100,
    );
    await ordered;
    expect(view.status, JSON.stringify(view.failure)).toBe('SUCCEEDED');
    expect(view.result?.precopy).toBe('held');
    expect(view.result?.imagesLeft).toEqual({ host: 'kvm1', paths: ['/var/lib/libvirt/web.raw'] });
    expect(view.forecast?.storage?.bytes.expected).toBeGreaterThanOrEqual((DISK_MIB - FILLED_FROM_MIB) * MIB);
    expect(seen.map(({ phase }) => phase)).toContain('copying-disks');
    const copied = seen.map(({ disks }) => disks?.bytesProcessed ?? 0);
    expect(copied).toEqual(copied.toSorted((a, b) => a - b));
    // libvirt's last figures are of a moment before its end.
    expect(copied.at(-1)).toBeGreaterThan(DISK_MIB * 0.9 * MIB);
    await unharmed(address, before);
    expect(await imagesOn(lab, 'kvm2', 'web'), 'and no mark').toEqual(['web.raw']);

    const { ticks } = await guestStatus(address);
    const [left, copy] = await Promise.all(
      (['kvm1', 'kvm2'] as const).map((host) => readFile(imageOn(lab, host, 'web'))),
    );
    expect(copy?.length).toBe(left?.length);
    const differing = pages(copy!).filter((page) => !pageOf(copy!, page).equals(pageOf(left!, page)));
    // The source's image ends with the switch: what the copy has beyond it are the guest's ticks since then, one after the other.
    const first = differing[0] ?? 0;
    expect(first).toBeGreaterThan(before.ticks);
    expect(differing).toEqual(differing.map((_, index) => first + index));
    expect(differing.length).toBeGreaterThan(0);
    for (const page of differing) expect(tickAt(copy!, page), 'a tick').toEqual({ magic: 'HANDOFF', number: page });
    expect(differing.at(-1)).toBeGreaterThanOrEqual(ticks - 1);
    // And up to then both have the same, without a gap.
    for (let page = 0; page < first; page++) expect(tickAt(left!, page)).toEqual({ magic: 'HANDOFF', number: page });
  }, 180_000);

  it('does not move it back onto the image it left', async () => {
    const { failure, runsOn } = await migrate(managed, { ...move(), from: 'kvm2', to: 'kvm1', policy });
    expect(failure?.message).toContain('/var/lib/libvirt/web.raw is there already');
    expect(runsOn).toBeUndefined();
    expect(await stateOn(lab, 'kvm2', 'web')).toMatch(/^running/);
  }, 120_000);

  it('copies a qcow2 image as one, with its holes', async () => {
    const db = guestAddress(lab, 102);
    await startGuest(lab, 'kvm1', { name: 'db', address: db, memoryMiB: 256, disk: 'local', diskMiB: 1_000 });
    await asQcow2(lab, 'kvm1', 'db');
    await until('it is up again', () => guestStatus(db).catch(() => undefined), { timeoutMs: 60_000 });
    const before = await guestStatus(db);
    const view = await migrate(managed, { vm: 'db', from: 'kvm1', to: 'kvm2', policy: { migrateStorage: true } });
    expect(view.status, JSON.stringify(view.failure)).toBe('SUCCEEDED');
    await unharmed(db, before);
    const info = JSON.parse(
      await execText(lab, 'kvm2', ['qemu-img', 'info', '-U', '--output=json', '/var/lib/libvirt/db.raw']),
    ) as { format: string; 'virtual-size': number; 'actual-size': number };
    expect(info).toMatchObject({ format: 'qcow2', 'virtual-size': 1_000 * MIB });
    expect(info['actual-size']).toBeLessThan(100 * MIB);
  }, 180_000);

  describe('back again, with the mover killed', () => {
    let db: string;
    let relay: MessageRelay;
    beforeAll(async () => {
      db = guestAddress(lab, 102);
      await execText(lab, 'kvm1', ['rm', '/var/lib/libvirt/db.raw']);
      // The mover's way to its destination leads through a relay that knows the messages.
      relay = await MessageRelay.start(addressOf(lab, 'machine'), addressOf(lab, 'kvm1'));
      const libvirtUri = `qemu+tcp://${addressOf(lab, 'machine')}:${relay.port}/system`;
      const body = { nodeId: managed.nodeIdOf('kvm1'), address: addressOf(lab, 'kvm1'), libvirtUri };
      await managed.api.call('PUT', '/hosts/kvm1', { body });
    });
    afterAll(() => relay.stop());

    /** Kills it once libvirt has answered `after` and the mover sends `at`. */
    async function killed(at: Procedure, after: Procedure): Promise<MigrationView> {
      const before = await guestStatus(db);
      let armed = false;
      let dead = false;
      relay.rule(async (direction, procedure) => {
        if (procedure === after && direction === 'reply') armed = true;
        if (armed && !dead && direction === 'call' && procedure === at) {
          dead = true;
          await exec(lab, 'kvm2', ['pkill', '-KILL', '-f', 'mover db-']);
          return 'swallow';
        }
        return 'pass';
      });
      const view = await migrate(managed, {
        ...{ vm: 'db', from: 'kvm2', to: 'kvm1' },
        policy: { migrateStorage: true, heartbeatTimeoutSeconds: 10 },
      });
      relay.rule();
      expect(dead, JSON.stringify(view.failure)).toBe(true);
      await unharmed(db, before);
      return view;
    }
    const actions = (view: MigrationView) => view.timeline.map(({ detail }) => detail?.action).filter(Boolean);

    it('between commit and Finish: the VM stays, and the image that was made for it goes', async () => {
      const view = await killed('DOMAIN_MIGRATE_FINISH3_PARAMS', 'DOMAIN_MIGRATE_PREPARE3_PARAMS');
      expect(view).toMatchObject({ status: 'FAILED', runsOn: 'kvm2' });
      expect(actions(view)).toContain('remove-images');
      expect(await imagesOn(lab, 'kvm1', 'db')).toEqual([]);
      expect(await imagesOn(lab, 'kvm2', 'db')).toEqual(['db.raw']);
    }, 180_000);

    it('between Finish and Confirm: the VM has moved, and keeps the image that was made for it', async () => {
      const view = await killed('DOMAIN_GET_JOB_STATS', 'DOMAIN_MIGRATE_FINISH3_PARAMS');
      expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm1', result: { imagesLeft: { host: 'kvm2' } } });
      expect(actions(view)).toContain('keep-images');
      expect(await imagesOn(lab, 'kvm1', 'db')).toEqual(['db.raw']);
    }, 180_000);
  });

  it('leaves nothing on the destination when the agent there dies as it makes the image', async () => {
    const view = await whenAgentDies.ended;
    expect(view).toMatchObject({ status: 'FAILED', runsOn: 'kvm1', failure: { code: 'CommandFailed' } });
    expect(view.timeline.map(({ event }) => event)).not.toContain('precopy task sent');
    expect(await imagesOn(lab, 'kvm2', 'cut')).toEqual([]);
    await unharmed(guestAddress(lab, 103), whenAgentDies.before);
  }, 120_000);
});

async function unharmed(address: string, before: GuestStatus): Promise<void> {
  // Long enough for the guest to look at the ticks it wrote before the switch.
  const after = await until(
    'the guest writes on',
    async () => {
      const status = await guestStatus(address).catch(() => undefined);
      return status !== undefined && status.ticks > before.ticks + 35 ? status : undefined;
    },
    { timeoutMs: 30_000 },
  );
  expect(after).toMatchObject({ bootId: before.bootId, diskErrors: 0, patternErrors: 0 });
}

const imageOn = (lab: Lab, host: HostName, vm: string): string => join(folderOf(lab, host), 'lib', `${vm}.raw`);

/** Names of a VM's images on a host, and of the marks of its migrations. */
async function imagesOn(lab: Lab, host: HostName, vm: string): Promise<string[]> {
  const names = await execText(lab, host, ['ls', '-A', '/var/lib/libvirt']);
  return names.split('\n').filter((name) => name.startsWith(`.handoff-${vm}-`) || name === `${vm}.raw`);
}

async function fill(image: string): Promise<void> {
  const file = await open(image, 'r+');
  for (let at = FILLED_FROM_MIB; at < DISK_MIB; at++) await file.write(randomBytes(MIB), 0, MIB, at * MIB);
  await file.close();
}

/** Gives the guest an empty qcow2 image in place of its raw one. */
async function asQcow2(lab: Lab, host: HostName, vm: string): Promise<void> {
  const image = `/var/lib/libvirt/${vm}.raw`;
  const script = `virsh destroy ${vm} && virsh undefine ${vm} && qemu-img create -f qcow2 ${image} 1000M &&
    sed "s/type='raw'/type='qcow2'/" /run/${vm}.xml > /run/${vm}-qcow2.xml && virsh define /run/${vm}-qcow2.xml && virsh start ${vm}`;
  await execText(lab, host, ['sh', '-c', script]);
}

const pages = (image: Buffer): number[] => Array.from({ length: image.length / PAGE }, (_, page) => page);
const pageOf = (image: Buffer, page: number): Buffer => image.subarray(page * PAGE, (page + 1) * PAGE);

/** The head of guest.c's `struct tick`. */
function tickAt(image: Buffer, page: number): { magic: string; number: number } {
  const tick = pageOf(image, page);
  return { magic: tick.subarray(0, 7).toString('latin1'), number: Number(tick.readBigUInt64LE(16)) };
}
