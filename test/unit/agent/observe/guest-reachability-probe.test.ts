import { describe, expect, it } from 'vitest';
import { GuestReachabilityProbe } from '../../../../agent/observe/guest-reachability-probe.ts';
import { VM, World } from '../world.ts';

describe('a guestProbe', () => {
  const guest = { address: '10.1.0.5', addressFrom: 'request' as const };
  const guestProbeOf = (world: World, known: typeof guest | undefined = guest) =>
    new GuestReachabilityProbe(world.deps(), known);

  it('looks as soon as the address is known', async () => {
    const world = new World({ address: guest.address });
    const guestProbe = new GuestReachabilityProbe(world.deps(), undefined);
    guestProbe.start();
    await world.clock.advance(100);
    guestProbe.setTarget(guest);
    await world.clock.advance(100);
    const at = world.clock.now();
    expect(guestProbe.answeredBefore(at - 90)).toBe(true);
    expect(guestProbe.answeredBefore(at - 110)).not.toBe(true);
    guestProbe.end();
  });

  it.each([
    { what: 'answered', from: guest.address, beganMsBefore: 100, answered: true },
    { what: 'is silent, and was given the time', from: undefined, beganMsBefore: 1_000, answered: false },
    { what: 'is silent, and was not given the time', from: undefined, beganMsBefore: 999, answered: undefined },
    { what: 'was not looked at yet', from: guest.address, beganMsBefore: 0, answered: undefined },
  ])('tells whether a guest answered that $what', async ({ from, beganMsBefore, answered }) => {
    const world = new World(from === undefined ? {} : { address: from });
    const guestProbe = guestProbeOf(world);
    guestProbe.start();
    await world.clock.advance(beganMsBefore);
    expect(guestProbe.answeredBefore(world.clock.now())).toBe(answered);
    guestProbe.end();
    expect(guestProbe.answeredBefore(world.clock.now())).toBeUndefined();
  });

  it('says that no address is known', async () => {
    const guestProbe = new GuestReachabilityProbe(new World().deps(), undefined);
    guestProbe.start();
    expect(await guestProbe.result({ from: 1, to: 2 })).toEqual({
      observed: false,
      why: expect.stringContaining('address'),
    });
  });

  it('says that nobody was looking', async () => {
    const world = new World({ address: guest.address });
    const guestProbe = guestProbeOf(world);
    guestProbe.start();
    guestProbe.stopAfter(1_000);
    await world.clock.advance(1_001);
    const at = world.clock.now();
    expect(await guestProbe.result({ from: at, to: at })).toMatchObject({ observed: false, why: /nobody was looking/ });
  });

  it('goes on looking when there is a new wish before it rests', async () => {
    const world = new World({ address: guest.address });
    const guestProbe = guestProbeOf(world);
    guestProbe.start();
    guestProbe.stopAfter(1_000);
    await world.clock.advance(500);
    guestProbe.start();
    await world.clock.advance(2_000);
    const at = world.clock.now() - 100;
    expect(await guestProbe.result({ from: at, to: at })).toMatchObject({
      observed: true,
      answered: 251,
      blackoutMs: 0,
    });
  });

  it('waits for the guest no longer than it is told to, and not at all for one it does not look at', async () => {
    const world = new World({ address: guest.address });
    const guestProbe = guestProbeOf(world);
    expect(await guestProbe.seesAfter(world.clock.now(), 60_000)).toBe(false);
    guestProbe.start();
    world.source.killQemu(VM);
    const begin = world.clock.now();
    const seen = guestProbe.seesAfter(begin + 1, 500);
    await world.clock.runUntilIdle();
    expect(await seen).toBe(false);
    expect(world.clock.now() - begin).toBeLessThan(520);
    guestProbe.end();
  });

  it('is not stopped by a host that cannot start a probe', async () => {
    const world = new World();
    const facts = {
      probe: () => {
        throw new Error('spawn EAGAIN');
      },
    };
    const guestProbe = new GuestReachabilityProbe({ facts, clock: world.clock }, guest);
    guestProbe.start();
    expect(await guestProbe.result({ from: 1, to: 2 })).toMatchObject({ observed: false, why: /nobody was looking/ });
  });
});
