import { beforeAll, expect, it } from 'vitest';
import { ended, reaches, request } from '../../lab/clients/migrations.ts';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import { addressOf, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

describeWithManagedLab('a hold', (its) => {
  let guests: { name: string; address: string }[];

  beforeAll(async () => {
    const { lab, api, nodeIdOf } = its();
    guests = ['one', 'two', 'three'].map((name, index) => ({ name, address: guestAddress(lab, 101 + index) }));
    for (const host of lab.hosts) {
      const body = {
        nodeId: nodeIdOf(host),
        address: addressOf(lab, host),
        libvirtUri: libvirtUriOf(lab, host),
        limits: { outgoing: 3, incoming: 3, cutovers: 1 },
      };
      await api.call('PUT', `/hosts/${host}`, { body });
    }
    for (const guest of guests) await startGuest(lab, 'kvm1', { ...guest, memoryMiB: 320, dirtyMiBps: 10 });
  });

  it('lets three VMs be copied first, and then switched one after the other', async () => {
    const managed = its();
    const clients = await Promise.all(guests.map(({ address }) => startTcp(managed.lab, address)));
    const ids: string[] = [];
    for (const { name, address } of guests) {
      const wish = { vm: name, from: 'kvm1', to: 'kvm2', guestAddress: address } as const;
      ids.push(await request(managed, { ...wish, policy: { cutover: 'manual' } }));
    }
    for (const id of ids) {
      await reaches(managed, id, 'is held', ({ status }) => status === 'HELD');
    }
    for (const { name } of guests) expect(await stateOn(managed.lab, 'kvm1', name)).toMatch(/^running/);

    for (const [index, id] of ids.entries()) {
      await managed.api.call('POST', `/migrations/${id}/cutover`);
      const view = await ended(managed, id);
      expect(view, JSON.stringify(view.failure)).toMatchObject({
        status: 'SUCCEEDED',
        result: { precopy: 'held', guaranteedHoldSeconds: expect.any(Number) },
      });
      const places = await Promise.all(guests.map(({ name }) => stateOn(managed.lab, 'kvm2', name)));
      // Those whose turn has not come are still being received there.
      expect(places.map((state) => /^running/.test(state ?? ''))).toEqual(guests.map((_, other) => other <= index));
    }
    for (const client of clients) expect(await client.stop()).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    for (const { address } of guests) {
      expect(await guestStatus(address)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
    }
  }, 300_000);
});
