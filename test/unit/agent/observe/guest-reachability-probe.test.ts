import { describe, expect, it } from 'vitest';
import { GuestReachabilityProbe } from '../../../../agent/observe/guest-reachability-probe.ts';
import { AgentTestEnvironment, VM } from '../agent-test-environment.ts';

describe('a guestProbe', () => {
  const guest = { address: '10.1.0.5', addressFrom: 'request' as const };
  const guestProbeOf = (environment: AgentTestEnvironment, known: typeof guest | undefined = guest) =>
    new GuestReachabilityProbe(environment.deps(), known);

  it('looks as soon as the address is known', async () => {
    const environment = new AgentTestEnvironment({ address: guest.address });
    const guestProbe = new GuestReachabilityProbe(environment.deps(), undefined);
    guestProbe.start();
    await environment.clock.advance(100);
    guestProbe.setTarget(guest);
    await environment.clock.advance(100);
    const at = environment.clock.now();
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
    const environment = new AgentTestEnvironment(from === undefined ? {} : { address: from });
    const guestProbe = guestProbeOf(environment);
    guestProbe.start();
    await environment.clock.advance(beganMsBefore);
    expect(guestProbe.answeredBefore(environment.clock.now())).toBe(answered);
    guestProbe.end();
    expect(guestProbe.answeredBefore(environment.clock.now())).toBeUndefined();
  });

  it('says that no address is known', async () => {
    const guestProbe = new GuestReachabilityProbe(new AgentTestEnvironment().deps(), undefined);
    guestProbe.start();
    expect(await guestProbe.result({ from: 1, to: 2 })).toEqual({
      observed: false,
      why: expect.stringContaining('address'),
    });
  });

  it('says that nobody was looking', async () => {
    const environment = new AgentTestEnvironment({ address: guest.address });
    const guestProbe = guestProbeOf(environment);
    guestProbe.start();
    guestProbe.stopAfter(1_000);
    await environment.clock.advance(1_001);
    const at = environment.clock.now();
    expect(await guestProbe.result({ from: at, to: at })).toMatchObject({ observed: false, why: /nobody was looking/ });
  });

  it('goes on looking when there is a new wish before it rests', async () => {
    const environment = new AgentTestEnvironment({ address: guest.address });
    const guestProbe = guestProbeOf(environment);
    guestProbe.start();
    guestProbe.stopAfter(1_000);
    await environment.clock.advance(500);
    guestProbe.start();
    await environment.clock.advance(2_000);
    const at = environment.clock.now() - 100;
    expect(await guestProbe.result({ from: at, to: at })).toMatchObject({
      observed: true,
      answered: 251,
      blackoutMs: 0,
    });
  });

  it('waits for the guest no longer than it is told to, and not at all for one it does not look at', async () => {
    const environment = new AgentTestEnvironment({ address: guest.address });
    const guestProbe = guestProbeOf(environment);
    expect(await guestProbe.seesAfter(environment.clock.now(), 60_000)).toBe(false);
    guestProbe.start();
    environment.source.killQemu(VM);
    const begin = environment.clock.now();
    const seen = guestProbe.seesAfter(begin + 1, 500);
    await environment.clock.runUntilIdle();
    expect(await seen).toBe(false);
    expect(environment.clock.now() - begin).toBeLessThan(520);
    guestProbe.end();
  });

  it('is not stopped by a host that cannot start a probe', async () => {
    const environment = new AgentTestEnvironment();
    const facts = {
      probe: () => {
        throw new Error('spawn EAGAIN');
      },
    };
    const guestProbe = new GuestReachabilityProbe({ facts, clock: environment.clock }, guest);
    guestProbe.start();
    expect(await guestProbe.result({ from: 1, to: 2 })).toMatchObject({ observed: false, why: /nobody was looking/ });
  });
});
