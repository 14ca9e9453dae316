import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { beforeAll, expect, it } from 'vitest';
import type { HostView } from '../../contract/api.ts';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { destroyGuest, guestStatus, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { addBridge } from '../../lab/hosts/network.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

describeWithManagedLab('emptying a host', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
  });

  const stateOfHost = async (host: string): Promise<string | undefined> =>
    (await managed.api.call<{ hosts: HostView[] }>('GET', '/hosts')).hosts.find(({ hostId }) => hostId === host)?.state;

  async function maintenanceScheduled(host: string): Promise<void> {
    const events = new EventBridgeClient({
      region: managed.access.region,
      endpoint: new URL(managed.access.url).origin,
      credentials: managed.access.credentials,
    });
    const Entries = [
      {
        Source: 'handoff.maintenance',
        DetailType: 'Host Maintenance Scheduled',
        Detail: JSON.stringify({ host, reason: 'new fans' }),
      },
    ];
    expect(await events.send(new PutEventsCommand({ Entries }))).toMatchObject({ FailedEntryCount: 0 });
  }

  it('moves every VM on an EventBridge event while their clients stay connected, and marks the host', async () => {
    const guests = [
      { name: 'one', address: guestAddress(lab, 101) },
      { name: 'two', address: guestAddress(lab, 102) },
    ];
    for (const guest of guests) await startGuest(lab, 'kvm1', { ...guest, memoryMiB: 384 });
    const clients = await Promise.all(guests.map(({ address }) => startTcp(lab, address)));
    await maintenanceScheduled('kvm1');
    // Events come at least once.
    await maintenanceScheduled('kvm1');
    await until('the host is in maintenance', async () => (await stateOfHost('kvm1')) === 'IN_MAINTENANCE', {
      timeoutMs: 150_000,
    });
    for (const { name, address } of guests) {
      expect(await stateOn(lab, 'kvm2', name)).toMatch(/^running/);
      expect(await stateOn(lab, 'kvm1', name)).toBeUndefined();
      expect(await guestStatus(address)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
    }
    for (const client of clients) expect(await client.stop()).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    expect(await managed.api.call('POST', '/hosts/kvm1/uncordon')).toMatchObject({ state: 'ACTIVE' });
  }, 300_000);

  it('names a VM that cannot move, leaves it running, and does not mark the host', async () => {
    await addBridge(lab, 'kvm2', 'br9');
    await startGuest(lab, 'kvm2', { name: 'odd', address: guestAddress(lab, 103), bridge: 'br9', memoryMiB: 256 });
    const { evacuationId } = await managed.api.call<{ evacuationId: string }>('POST', '/hosts/kvm2/evacuate', {
      body: {},
    });
    const view = await until(
      'the evacuation has ended',
      async () => {
        const now = await managed.api.call<{ status: string; failure?: { code: string; message: string } }>(
          'GET',
          `/evacuations/${evacuationId}`,
        );
        return now.status === 'RUNNING' ? undefined : now;
      },
      { timeoutMs: 150_000 },
    );
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'HostNotEmptied' } });
    expect(view.failure?.message).toMatch(/odd.*network:br9/);
    expect(await stateOn(lab, 'kvm2', 'odd')).toMatch(/^running/);
    expect(await stateOn(lab, 'kvm1', 'one')).toMatch(/^running/);
    expect(await stateOn(lab, 'kvm1', 'two')).toMatch(/^running/);
    expect(await stateOfHost('kvm2')).toBe('CORDONED');
    await destroyGuest(lab, 'odd');
  }, 300_000);
});
