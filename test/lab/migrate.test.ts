import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeAll, expect, it } from 'vitest';
import type { ApiProblem } from '../../cli/api-client.ts';
import { getMigration } from '../../cli/follow-migration.ts';
import type { HostView } from '../../contract/api.ts';
import { ended, migrate, reaches, request } from '../../lab/clients/migrations.ts';
import { startPing } from '../../lab/clients/ping-probe.ts';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { destroyGuest, guestStatus, setDirtyRate, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { addBridge, limitLink } from '../../lab/hosts/network.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

/** Migrations in a row: a sample in `npm test`, more in `npm run test:lab:full`. */
const ROUNDS = process.env.HANDOFF_TEST_FULL === undefined ? 4 : 10;

describeWithManagedLab('a migration through the API', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  let address: string;
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
    address = guestAddress(lab);
    await startGuest(lab, 'kvm1', { name: 'web', address });
  });

  const hosts = async (): Promise<HostView[]> => (await managed.api.call<{ hosts: HostView[] }>('GET', '/hosts')).hosts;
  const nothingIsHeld = async () => {
    for (const host of await hosts()) expect(host).toMatchObject({ outgoing: [], incoming: [], reservedMiB: 0 });
  };

  it('goes there and back again and again; memory, process, disk and the TCP connection survive every migration', async () => {
    const before = await guestStatus(address);
    const tcp = await startTcp(lab, address);
    for (let round = 1; round <= ROUNDS; round++) {
      const [from, to] = round % 2 === 1 ? (['kvm1', 'kvm2'] as const) : (['kvm2', 'kvm1'] as const);
      const view = await migrate(managed, { vm: 'web', from, to, guestAddress: address });
      expect(view, JSON.stringify(view.failure)).toMatchObject({ status: 'SUCCEEDED', runsOn: to });
      expect(view.result?.downtimeMs).toBeGreaterThan(0);
      expect(view.warning).toBeUndefined();
      expect(await stateOn(lab, from, 'web')).toBeUndefined();
      expect(await stateOn(lab, to, 'web')).toMatch(/^running/);
      const now = await guestStatus(address);
      expect(now).toMatchObject({ bootId: before.bootId, pid: before.pid, patternErrors: 0, diskErrors: 0 });
      expect(now.ticks).toBeGreaterThan(before.ticks);
    }
    expect(await tcp.stop()).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    await nothingIsHeld();
  }, 600_000);

  it('shows its stages in the timeline, the list and the execution', async () => {
    const { migrations } = await managed.api.call<{ migrations: { migrationId: string }[] }>('GET', '/migrations', {
      query: { vm: 'web', limit: '1' },
    });
    const view = await getMigration(managed.api, migrations[0]!.migrationId);
    const story = view.timeline.map((event) => event.event);
    for (const chapter of [
      'admitted',
      'precopy task sent',
      'precopy succeeded',
      'cutover task sent',
      'cutover succeeded',
      'ended',
    ]) {
      expect(story).toContain(chapter);
    }
    expect(view.checks?.every((check) => check.passed)).toBe(true);
    expect(view.consoleUrl).toContain(view.executionArn);
  });

  it('refuses a VM that is on its way already, naming the migration; the same key is the same migration', async () => {
    await limitLink(lab, 'kvm1', 20);
    try {
      const body = { vm: 'web', source: 'kvm1', destination: 'kvm2' };
      const start = (key?: string) =>
        managed.api.call<{ migrationId: string }>('POST', '/migrations', {
          body,
          ...(key && { headers: { 'idempotency-key': key } }),
        });
      const first = await start('once');
      await reaches(managed, first.migrationId, 'is admitted', ({ timeline }) => timeline.length > 0);
      expect((await start('once')).migrationId).toBe(first.migrationId);
      const refusal = await start().catch((error: ApiProblem) => error.problem);
      expect(refusal).toMatchObject({ status: 409, code: 'VmBusy', migrationId: first.migrationId });
      await managed.api.call('POST', `/migrations/${first.migrationId}/cancel`);
      await ended(managed, first.migrationId);
    } finally {
      await limitLink(lab, 'kvm1', undefined);
    }
  });

  it('is cancelled during pre-copy: the VM runs on at the source, and nothing is left at the destination', async () => {
    await limitLink(lab, 'kvm1', 20);
    await setDirtyRate(address, 100);
    try {
      const before = await guestStatus(address);
      const ping = await startPing(lab, address);
      // Its preflight must pass on any machine: what the guest writes is five times the link, the most a throttle can master.
      const policy = { onNonConvergence: 'exceed' } as const;
      const migrationId = await request(managed, { vm: 'web', from: 'kvm1', to: 'kvm2', policy });
      await reaches(managed, migrationId, 'copies', ({ progress }) => progress?.phase === 'copying');
      await managed.api.call('POST', `/migrations/${migrationId}/cancel`);
      const view = await ended(managed, migrationId);
      expect(view).toMatchObject({ status: 'CANCELLED', runsOn: 'kvm1' });
      expect(await stateOn(lab, 'kvm1', 'web')).toMatch(/^running/);
      expect(await stateOn(lab, 'kvm2', 'web')).toBeUndefined();
      expect(await guestStatus(address)).toMatchObject({ bootId: before.bootId, patternErrors: 0 });
      expect((await ping.stop()).answered).toBeGreaterThan(0);
      // Twice is once.
      expect(await managed.api.call('POST', `/migrations/${migrationId}/cancel`)).toMatchObject({
        status: 'CANCELLED',
      });
      await nothingIsHeld();
    } finally {
      await limitLink(lab, 'kvm1', undefined);
      await setDirtyRate(address, 20);
    }
  });

  it('cannot be cancelled after the handover', async () => {
    const view = await migrate(managed, { vm: 'web', from: 'kvm1', to: 'kvm2' });
    const refusal = await managed.api
      .call('POST', `/migrations/${view.migrationId}/cancel`)
      .catch((error: ApiProblem) => error.problem);
    expect(refusal).toMatchObject({ status: 409, code: 'AlreadyHandedOver' });
    expect(await migrate(managed, { vm: 'web', from: 'kvm2', to: 'kvm1' })).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('is refused for a bridge the destination does not have', async () => {
    await addBridge(lab, 'kvm1', 'br9');
    await startGuest(lab, 'kvm1', { name: 'odd', address: guestAddress(lab, 102), bridge: 'br9' });
    await refused('odd', 'network:br9');
  });

  it('is refused for a disk only the source has', async () => {
    await startGuest(lab, 'kvm1', { name: 'local', address: guestAddress(lab, 103), disk: 'local' });
    await refused('local', 'disk:vda');
  });

  it('is refused for memory that the destination has reserved for others', async () => {
    const db = new DynamoDBClient(managed.aws.inProcess());
    const promise = (UpdateExpression: string, values?: Record<string, number>) =>
      db.send(
        new UpdateCommand({
          TableName: managed.aws.outputs.ControlTable,
          Key: { pk: 'HOSTS', sk: 'kvm2' },
          UpdateExpression,
          ExpressionAttributeNames: { '#other': 'another-migration' },
          ...(values && { ExpressionAttributeValues: values }),
        }),
      );
    await promise('SET reservations.#other = :mib', { ':mib': 1_000_000 });
    try {
      await refused('web', 'memory');
    } finally {
      await promise('REMOVE reservations.#other');
    }
    await nothingIsHeld();
  });

  it('is refused for a VM that is not there, and names every other check too', async () => {
    const view = await migrate(managed, { vm: 'nobody', from: 'kvm1', to: 'kvm2' });
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    expect(view.failure?.message).toContain('domain-exists');
    expect(new Set(view.checks?.map((check) => check.role))).toEqual(new Set(['source', 'destination']));
  });

  /** Asks to move the VM from kvm1 to kvm2, and expects the one check to fail and the guest to notice nothing. */
  async function refused(vm: string, check: string): Promise<void> {
    const before = await stateOn(lab, 'kvm1', vm);
    const view = await migrate(managed, { vm, from: 'kvm1', to: 'kvm2' });
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    const failed = view.checks?.filter((one) => !one.passed) ?? [];
    // Both hosts may say it.
    expect(new Set(failed.map((one) => one.name))).toEqual(new Set([check]));
    expect(failed[0]?.remedy).toBeTruthy();
    expect(view.failure?.message).toContain(check);
    expect(await stateOn(lab, 'kvm1', vm)).toBe(before);
    expect(await stateOn(lab, 'kvm2', vm)).toBeUndefined();
    if (vm !== 'web') await destroyGuest(lab, vm);
  }
});
