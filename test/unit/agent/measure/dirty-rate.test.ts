import { describe, expect, it } from 'vitest';
import type { AgentDeps } from '../../../../agent/deps.ts';
import type { Domain } from '../../../../agent/hypervisor.ts';
import { dirtyRateOf, measureDirtyRate } from '../../../../agent/measure/dirty-rate.ts';
import { measureGuest } from '../../../../agent/measure/measure.ts';
import { MIB } from '../../../../common/units.ts';
import { connect as connectTo } from '../../../../simulator/hypervisor/connection.ts';
import { libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { AgentTestEnvironment, VM } from '../agent-test-environment.ts';

const mib = (bytes: number) => Math.round(bytes / MIB);

describe('rate and working set, in MiB', () => {
  it.each([
    // A guest that goes round 200 MiB: the more of it was seen, the surer it is.
    { first: 150, second: 200, most: 300, rate: 150, workingSet: 212 },
    { first: 190, second: 200, most: 300, rate: 190, workingSet: 200 },
    // Nothing is written twice within two seconds: anything up to all of its memory.
    { first: 50, second: 100, most: 400, rate: 50, workingSet: 200 },
    // More in the second look than twice the first: both are samples.
    { first: 50, second: 120, most: 400, rate: 57, workingSet: 219 },
    // Exactly the same pages in both.
    { first: 60, second: 60, most: 400, rate: 60, workingSet: 60 },
    { first: 80, second: 40, most: 400, rate: 80, workingSet: 80 },
    // One look only: it writes little for its link.
    { first: 4, second: undefined, most: 400, rate: 4, workingSet: 40 },
    { first: 0, second: undefined, most: 400, rate: 0, workingSet: 0 },
    { first: 0, second: 0, most: 400, rate: 0, workingSet: 0 },
    // Samples may say more than there is.
    { first: 500, second: 600, most: 400, rate: 500, workingSet: 400 },
  ])('$first, then $second, of $most: $rate over $workingSet', ({ first, second, most, rate, workingSet }) => {
    const writing = dirtyRateOf(first * MIB, second === undefined ? undefined : second * MIB, most * MIB);
    expect([mib(writing.dirtyBytesPerSecond), mib(writing.workingSetBytes)]).toEqual([rate, workingSet]);
  });
});

describe('a guest', () => {
  /** Lets time pass while something is done. */
  async function meanwhile<T>(environment: AgentTestEnvironment, doing: Promise<T>): Promise<T> {
    doing.catch(() => {});
    await environment.clock.advance(20_000);
    return doing;
  }

  async function domainOf(environment: AgentTestEnvironment): Promise<Domain> {
    const here = await meanwhile(environment, connectTo(environment.fleet, 'kvm-a', 'qemu:///system'));
    return (await meanwhile(environment, here.find(VM)))!;
  }

  async function measure(environment: AgentTestEnvironment, linkMiBps: number) {
    const measuring = measureDirtyRate(await domainOf(environment), environment.clock, {
      vcpus: 2,
      mostBytes: 4_096 * MIB,
      linkBytesPerSecond: Promise.resolve(linkMiBps * MIB),
    });
    return meanwhile(environment, measuring);
  }

  it('is looked at once when it writes little for its link, and else a second time', async () => {
    const environment = new AgentTestEnvironment();
    Object.assign(environment.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const easy = await measure(environment, 1_000);
    expect(mib(easy.dirtyBytesPerSecond)).toBe(40);
    expect(mib(easy.workingSetBytes)).toBeGreaterThan(60);
    expect(easy.cpuUse).toBeCloseTo(0.1, 1);

    const hard = await measure(environment, 100);
    expect(mib(hard.dirtyBytesPerSecond)).toBe(40);
    // Both looks together saw all of it.
    expect(mib(hard.workingSetBytes)).toBeGreaterThanOrEqual(60);
    expect(mib(hard.workingSetBytes)).toBeLessThan(90);
  });

  it('is looked at by as many agents at a time as come, each in the pauses of the others', async () => {
    const environment = new AgentTestEnvironment();
    Object.assign(environment.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const domain = await domainOf(environment);
    const options = { vcpus: 2, mostBytes: 4_096 * MIB, linkBytesPerSecond: Promise.resolve(100 * MIB) };
    const all = [0, 300, 1_020].map(async (later) => {
      await environment.clock.sleep(later);
      return measureDirtyRate(domain, environment.clock, options);
    });
    for (const { dirtyBytesPerSecond } of await meanwhile(environment, Promise.all(all))) {
      expect(mib(dirtyBytesPerSecond)).toBe(40);
    }
  });

  it.each([
    ['that has just ended, and the next one that was begun at once', ['ended', 'ended', 'measuring', 'ended'], true],
    ['of an agent that died', ['measuring', 'measuring', 'measuring', 'ended'], true],
    ['that is none: QEMU refuses for another reason', ['ended', 'ended', 'ended', 'ended', 'ended'], false],
  ])('is looked at after an earlier look %s', async (_, states, succeeds) => {
    const environment = new AgentTestEnvironment();
    const domain = await domainOf(environment);
    const left = [...states];
    const [start, dirtyRate] = [domain.startDirtyRateCalc.bind(domain), domain.dirtyRate.bind(domain)];
    domain.startDirtyRateCalc = async (seconds) => {
      if (left.length > 0) throw libvirtError('it does not look now');
      await start(seconds);
    };
    domain.dirtyRate = async () => {
      const state = left.shift();
      if (state === undefined) return dirtyRate();
      return state === 'measuring' ? 'measuring' : { bytesPerSecond: 3 * MIB, seconds: 1 };
    };
    const facts = { guestResidentBytes: async () => 1_000 * MIB } as unknown as AgentDeps['facts'];
    const memory = { memoryMiB: 4_096, vcpus: 2 };
    const measuring = measureGuest({ clock: environment.clock, facts }, domain, memory, Promise.resolve(1_000 * MIB));
    if (succeeds) {
      expect(await meanwhile(environment, measuring)).toMatchObject({
        memoryBytes: 4_096 * MIB,
        residentBytes: 1_000 * MIB,
      });
    } else {
      await expect(meanwhile(environment, measuring)).rejects.toThrow('it does not look now');
    }
  });

  it('is looked at again when the look that ended was another one, of another length', async () => {
    const environment = new AgentTestEnvironment();
    Object.assign(environment.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const domain = await domainOf(environment);
    const dirtyRate = domain.dirtyRate.bind(domain);
    let asked = 0;
    domain.dirtyRate = async () => (asked++ === 0 ? { bytesPerSecond: 9 * MIB, seconds: 2 } : dirtyRate());
    const options = { vcpus: 2, mostBytes: 4_096 * MIB, linkBytesPerSecond: Promise.resolve(1_000 * MIB) };
    const { dirtyBytesPerSecond } = await meanwhile(environment, measureDirtyRate(domain, environment.clock, options));
    expect(mib(dirtyBytesPerSecond)).toBe(40);
  });

  it('that QEMU cannot look at is an error with its words', async () => {
    const environment = new AgentTestEnvironment();
    environment.source.change(environment.source.mustHave(VM), 'paused', 'paused (user)');
    await expect(measure(environment, 100)).rejects.toThrow('domain is not running');
  });
});
