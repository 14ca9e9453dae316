import { describe, expect, it } from 'vitest';
import type { JobStats } from '../../../../agent/hypervisor.ts';
import { BlackoutMeasurement } from '../../../../agent/mover/blackout-measurement.ts';
import { MIB } from '../../../../common/units.ts';
import { AgentTestEnvironment } from '../agent-test-environment.ts';

const ADDRESS = '10.1.0.5';
const job = (bytesRemaining: number, bytesPerSecond = 0) => ({ bytesRemaining, bytesPerSecond }) as JobStats;

/** A measurement of a guest that answers, and how many probes are under way. */
function measured(address: string | undefined = ADDRESS) {
  const environment = new AgentTestEnvironment({ address: ADDRESS });
  let probes = 0;
  const facts = {
    probe: (asked: string) => {
      probes += 1;
      const probe = environment.deps().facts.probe(asked);
      const stop = () => {
        probes -= 1;
        return probe.stop();
      };
      return Object.assign(Object.create(probe), { stop }) as typeof probe;
    },
  };
  const blackout = new BlackoutMeasurement({ facts, clock: environment.clock }, address);
  return { environment, blackout, probes: () => probes };
}

describe('the guest is probed', () => {
  it.each([
    ['with 512 MiB left', job(512 * MIB), 1],
    ['with 2 s left at the speed of the copy', job(2_000 * MIB, 1_000 * MIB), 1],
    ['not with more left', job(2_001 * MIB, 1_000 * MIB), 0],
  ])('near the end of a copy: %s', (_, seen, expected) => {
    const { blackout, probes } = measured();
    blackout.onCopying(seen);
    expect(probes()).toBe(expected);
    blackout.end();
  });

  it('for 10 s of a hold, and again from the cutover on', async () => {
    const { environment, blackout, probes } = measured();
    blackout.onCopying(job(0));
    blackout.onHeld();
    await environment.clock.advance(9_900);
    expect(probes()).toBe(1);
    await environment.clock.advance(200);
    expect(probes()).toBe(0);
    blackout.onCutover();
    expect(probes()).toBe(1);
    blackout.end();
    expect(probes()).toBe(0);
  });

  it('not at all where no address is known', async () => {
    const { environment, blackout } = measured(undefined);
    const own = new BlackoutMeasurement({ facts: environment.deps().facts, clock: environment.clock }, undefined);
    own.onCutover();
    expect(own.guest()).toEqual({});
    expect(await own.result({ from: 0, to: 0 })).toMatchObject({ observed: false });
    blackout.end();
  });
});

it('says whether the guest answers, for the destination to probe it too', async () => {
  const { environment, blackout } = measured();
  expect(blackout.guest()).toEqual({ guest: { address: ADDRESS, addressFrom: 'request' } });
  blackout.onCutover();
  await environment.clock.advance(2_000);
  expect(blackout.guest()).toEqual({ guest: { address: ADDRESS, addressFrom: 'request', answers: true } });
  blackout.end();
});
