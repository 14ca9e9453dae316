import { beforeAll, expect, it } from 'vitest';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import { addressOf, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { describeWithWorld } from './support/describe-with-managed-lab.ts';
import { ended, reaches, request, stateOn } from './support/moves.ts';

describeWithWorld('a hold', { name: 'hold', subnet: '10.94.0' }, (its) => {
  const guests = ['one', 'two', 'three'].map((name, index) => ({ name, address: `10.94.0.${101 + index}` }));

  beforeAll(async () => {
    const { lab, api, nodeIdOf } = its();
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
    const world = its();
    const clients = await Promise.all(guests.map(({ address }) => startTcp(world.lab, address)));
    const ids: string[] = [];
    for (const { name, address } of guests) {
      const wish = { vm: name, from: 'kvm1', to: 'kvm2', guestAddress: address } as const;
      ids.push(await request(world, { ...wish, policy: { cutover: 'manual' } }));
    }
    for (const id of ids) {
      await reaches(world, id, 'is held', ({ status }) => status === 'HELD');
    }
    for (const { name } of guests) expect(await stateOn(world.lab, 'kvm1', name)).toMatch(/^running/);

    for (const [index, id] of ids.entries()) {
      await world.api.call('POST', `/migrations/${id}/cutover`);
      const view = await ended(world, id);
      expect(view, JSON.stringify(view.failure)).toMatchObject({
        status: 'SUCCEEDED',
        result: { precopy: 'held', guaranteedHoldSeconds: expect.any(Number) },
      });
      const places = await Promise.all(guests.map(({ name }) => stateOn(world.lab, 'kvm2', name)));
      // Those whose turn has not come are still being received there.
      expect(places.map((state) => /^running/.test(state ?? ''))).toEqual(guests.map((_, other) => other <= index));
    }
    for (const client of clients) expect(await client.stop()).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    for (const { address } of guests) {
      expect(await guestStatus(address)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
    }
  }, 300_000);
});
