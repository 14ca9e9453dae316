import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { AgentDeps } from '../../../../agent/deps.ts';
import { receiveLinkTest, sendLinkTest } from '../../../../agent/host/link-test.ts';
import { residentOf } from '../../../../agent/host/resident-memory.ts';
import type { Domain } from '../../../../agent/hypervisor.ts';
import { dirtyRateOf, measureDirtyRate } from '../../../../agent/measure/dirty-rate.ts';
import { checkLink, linkOf } from '../../../../agent/measure/link.ts';
import { measureGuest } from '../../../../agent/measure/measure.ts';
import { MIB } from '../../../../common/units.ts';
import { connect as connectTo } from '../../../../simulator/hypervisor/connection.ts';
import { libvirtError } from '../../../../simulator/hypervisor/errors.ts';
import { VM, World } from '../world.ts';

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
  async function meanwhile<T>(world: World, doing: Promise<T>): Promise<T> {
    doing.catch(() => {});
    await world.clock.advance(20_000);
    return doing;
  }

  async function domainOf(world: World): Promise<Domain> {
    const here = await meanwhile(world, connectTo(world.fleet, 'kvm-a', 'qemu:///system'));
    return (await meanwhile(world, here.find(VM)))!;
  }

  async function measure(world: World, linkMiBps: number) {
    const measuring = measureDirtyRate(await domainOf(world), world.clock, {
      vcpus: 2,
      mostBytes: 4_096 * MIB,
      linkBytesPerSecond: Promise.resolve(linkMiBps * MIB),
    });
    return meanwhile(world, measuring);
  }

  it('is looked at once when it writes little for its link, and else a second time', async () => {
    const world = new World();
    Object.assign(world.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const easy = await measure(world, 1_000);
    expect(mib(easy.dirtyBytesPerSecond)).toBe(40);
    expect(mib(easy.workingSetBytes)).toBeGreaterThan(60);
    expect(easy.cpuUse).toBeCloseTo(0.1, 1);

    const hard = await measure(world, 100);
    expect(mib(hard.dirtyBytesPerSecond)).toBe(40);
    // Both looks together saw all of it.
    expect(mib(hard.workingSetBytes)).toBeGreaterThanOrEqual(60);
    expect(mib(hard.workingSetBytes)).toBeLessThan(90);
  });

  it('is looked at by as many agents at a time as come, each in the pauses of the others', async () => {
    const world = new World();
    Object.assign(world.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const domain = await domainOf(world);
    const options = { vcpus: 2, mostBytes: 4_096 * MIB, linkBytesPerSecond: Promise.resolve(100 * MIB) };
    const all = [0, 300, 1_020].map(async (later) => {
      await world.clock.sleep(later);
      return measureDirtyRate(domain, world.clock, options);
    });
    for (const { dirtyBytesPerSecond } of await meanwhile(world, Promise.all(all))) {
      expect(mib(dirtyBytesPerSecond)).toBe(40);
    }
  });

  it.each([
    ['that has just ended, and the next one that was begun at once', ['ended', 'ended', 'looking', 'ended'], true],
    ['of an agent that died', ['looking', 'looking', 'looking', 'ended'], true],
    ['that is none: QEMU refuses for another reason', ['ended', 'ended', 'ended', 'ended', 'ended'], false],
  ])('is looked at after an earlier look %s', async (_, states, succeeds) => {
    const world = new World();
    const domain = await domainOf(world);
    const left = [...states];
    const [start, dirtyRate] = [domain.startDirtyRateCalc.bind(domain), domain.dirtyRate.bind(domain)];
    domain.startDirtyRateCalc = async (seconds) => {
      if (left.length > 0) throw libvirtError('it does not look now');
      await start(seconds);
    };
    domain.dirtyRate = async () => {
      const state = left.shift();
      if (state === undefined) return dirtyRate();
      return state === 'looking' ? 'looking' : { bytesPerSecond: 3 * MIB, seconds: 1 };
    };
    const facts = { guestResidentBytes: async () => 1_000 * MIB } as unknown as AgentDeps['facts'];
    const memory = { memoryMiB: 4_096, vcpus: 2 };
    const measuring = measureGuest({ clock: world.clock, facts }, domain, memory, Promise.resolve(1_000 * MIB));
    if (succeeds) {
      expect(await meanwhile(world, measuring)).toMatchObject({
        memoryBytes: 4_096 * MIB,
        residentBytes: 1_000 * MIB,
      });
    } else {
      await expect(meanwhile(world, measuring)).rejects.toThrow('it does not look now');
    }
  });

  it('is looked at again when the look that ended was another one, of another length', async () => {
    const world = new World();
    Object.assign(world.source.mustHave(VM).guest, { dirtyMiBps: 40, workingSetMiB: 60 });
    const domain = await domainOf(world);
    const dirtyRate = domain.dirtyRate.bind(domain);
    let asked = 0;
    domain.dirtyRate = async () => (asked++ === 0 ? { bytesPerSecond: 9 * MIB, seconds: 2 } : dirtyRate());
    const options = { vcpus: 2, mostBytes: 4_096 * MIB, linkBytesPerSecond: Promise.resolve(1_000 * MIB) };
    const { dirtyBytesPerSecond } = await meanwhile(world, measureDirtyRate(domain, world.clock, options));
    expect(mib(dirtyBytesPerSecond)).toBe(40);
  });

  it('that QEMU cannot look at is an error with its words', async () => {
    const world = new World();
    world.source.change(world.source.mustHave(VM), 'paused', 'paused (user)');
    await expect(measure(world, 100)).rejects.toThrow('domain is not running');
  });
});

it.each([
  ['one block of the right size', 524_288, 294_912],
  ['huge pages, which are counted apart', 1_048_576, 1_048_576],
  ['none of that size', 2_097_152, undefined],
  ['two of that size', 65_404, undefined],
])('resident memory of a guest with %s', (_, kib, resident) => {
  const mapping = (range: string, size: number, rss: number, huge = 0) =>
    `${range} rw-p 00000000 00:00 0\nSize:  ${size} kB\nRss:   ${rss} kB\nPss: 1 kB\nPrivate_Hugetlb:  ${huge} kB\n`;
  const smaps = [
    mapping('7faf23e00000-7faf43e00000', 524_288, 294_912),
    mapping('7faf44000000-7faf84000000', 1_048_576, 0, 1_048_576),
    mapping('7faf84021000-7faf88000000', 65_404, 0),
    mapping('7faf8c021000-7faf90000000', 65_404, 12),
  ].join('');
  expect(residentOf(smaps, kib * 1_024)).toBe(resident === undefined ? undefined : resident * 1_024);
});

describe('the link', () => {
  const known = { bytesPerSecond: 90 * MIB, ageSeconds: 7_200 };

  it.each([
    [
      { bytesPerSecond: 100 * MIB },
      known,
      { linkBytesPerSecond: 100 * MIB, linkSource: 'measured', linkAgeSeconds: 0 },
    ],
    [{ why: 'no' }, known, { linkBytesPerSecond: 90 * MIB, linkSource: 'known', linkAgeSeconds: 7_200 }],
    [{ why: 'no' }, undefined, { why: 'no' }],
  ] as const)('from %j and %j', (result, before, link) => {
    expect(linkOf(result, before)).toEqual(link);
  });

  it('passes with its age, and fails with what would help', () => {
    expect(checkLink(linkOf({ why: 'no' }, known))).toEqual({ passed: true, found: '90 MiB/s, as it was 120 min ago' });
    expect(checkLink({ why: 'no answer' })).toMatchObject({
      passed: false,
      found: expect.stringContaining('no answer'),
      remedy: expect.stringContaining('49215'),
    });
  });
});

describe('the link test', () => {
  const LOCAL = '127.0.0.1';
  const test = (port: number, patienceMs = 10_000) => ({ port, name: 'web-1', patienceMs });

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, LOCAL);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    return port;
  }

  it('measures over a real connection, whichever end comes first', async () => {
    const port = await freePort();
    const sent = sendLinkTest(LOCAL, test(port));
    await new Promise((resolve) => setTimeout(resolve, 250));
    await receiveLinkTest(test(port));
    const result = await sent;
    expect(result).toEqual({ bytesPerSecond: expect.any(Number) });
    expect('bytesPerSecond' in result && result.bytesPerSecond).toBeGreaterThan(MIB);
  });

  it('cuts strangers off, and takes the one it waits for afterwards', async () => {
    const port = await freePort();
    const received = receiveLinkTest(test(port));
    const says = async (line: string): Promise<void> => {
      const socket = connect(port, LOCAL);
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.write(line);
      socket.resume();
      await once(socket, 'close');
    };
    await says('GET / HTTP/1.1\r\n\r\n');
    await says('handoff-link-test web-2\n');
    expect(await sendLinkTest(LOCAL, { ...test(port, 0), name: 'web-2' })).toEqual({ why: expect.any(String) });
    expect(await sendLinkTest(LOCAL, test(port))).toEqual({ bytesPerSecond: expect.any(Number) });
    await received;
  });

  it('lets others go first while its own sender does not come', async () => {
    const port = await freePort();
    const others = ['web-2', 'web-3'].map((name) => ({ ...test(port), name }));
    const waiting = receiveLinkTest(test(port));
    await Promise.all(
      others.map(async (other) => {
        const received = receiveLinkTest(other);
        expect(await sendLinkTest(LOCAL, other)).toEqual({ bytesPerSecond: expect.any(Number) });
        await received;
      }),
    );
    expect(await sendLinkTest(LOCAL, test(port))).toEqual({ bytesPerSecond: expect.any(Number) });
    await waiting;
  });

  it('waits while the port is taken, and gives up in time on either end', async () => {
    const port = await freePort();
    const other = createServer((socket) => socket.destroy()).listen(port);
    await once(other, 'listening');
    // Ends, which is all it has to do.
    await receiveLinkTest(test(port, 300));
    expect(await sendLinkTest(LOCAL, test(port, 300))).toEqual({ why: expect.any(String) });
    const received = receiveLinkTest(test(port));
    const sent = sendLinkTest(LOCAL, test(port));
    other.close();
    await once(other, 'close');
    expect(await sent).toEqual({ bytesPerSecond: expect.any(Number) });
    await received;
  });
});
