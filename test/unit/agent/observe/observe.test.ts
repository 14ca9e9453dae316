import { describe, expect, it } from 'vitest';
import { PingOutput } from '../../../../agent/host/ping.ts';
import { chooseAddress, findAddress } from '../../../../agent/observe/addresses.ts';
import { evaluate } from '../../../../agent/observe/blackout.ts';
import { GuestReachabilityProbe } from '../../../../agent/observe/guest-reachability-probe.ts';
import { connect } from '../../../../simulator/hypervisor/connection.ts';
import { VM, World } from '../world.ts';

/** Answers every 10 ms from `from` to `to`, both included. */
const every10 = (from: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - from) / 10) + 1 }, (_, index) => from + index * 10);
const without = (answers: number[], ...lost: [number, number][]): number[] =>
  answers.filter((at) => !lost.some(([begin, end]) => at > begin && at < end));

describe('what is made of a probe', () => {
  const all = every10(0, 2_000);
  /** Paused from 1,000 to 1,080, as the handover knows it. */
  const switched = { from: 1_000, to: 1_080 };

  it.each([
    ['a gap over the whole switch', without(all, [990, 1_090]), { blackoutMs: 90, elsewhereMs: 0 }],
    ['a gap that goes on after the switch', without(all, [990, 1_400]), { blackoutMs: 400, elsewhereMs: 0 }],
    ['no gap at all', all, { blackoutMs: 0, elsewhereMs: 0 }],
    ['a longer gap before', without(all, [300, 800], [990, 1_090]), { blackoutMs: 90, elsewhereMs: 490 }],
    ['a longer gap after', without(all, [990, 1_090], [1_200, 1_700]), { blackoutMs: 90, elsewhereMs: 490 }],
    ['two gaps in the switch', without(all, [980, 1_020], [1_020, 1_100]), { blackoutMs: 70, elsewhereMs: 0 }],
    [
      'slower answers than questions',
      all.filter((at) => at % 40 === 0 && !(at > 960 && at < 1_120)),
      {
        intervalMs: 40,
        blackoutMs: 120,
      },
    ],
    ['only two answers, around the switch', [700, 1_200], { blackoutMs: 490, intervalMs: 10, answered: 2 }],
  ])('%s', (_, answers, seen) => {
    expect(evaluate({ answers, sent: 201 }, switched)).toMatchObject({ observed: true, sent: 201, ...seen });
  });

  it.each([
    ['none at all', [], {}, /does not answer/],
    ['none, and a reason', [], { trouble: 'Network is unreachable' }, /^Network is unreachable$/],
    ['none, for want of time', [], { sent: 0 }, /no time to ask/],
    ['only from within the switch on', every10(1_050, 2_000), {}, /only when the guest was being switched/],
    ['only after the switch', every10(1_200, 2_000), {}, /only when the guest was being switched/],
    ['none after the switch', every10(0, 980), {}, /20 ms before the switch, and none after/],
    ['none after the switch, but one within', every10(0, 1_040), {}, /no answer came after the switch/],
  ])('tells nothing when the answers are %s', (_, answers, more, why) => {
    expect(evaluate({ answers, sent: 100, ...more }, switched)).toEqual({
      observed: false,
      why: expect.stringMatching(why),
    });
  });
});

describe('what ping writes', () => {
  const TEXT = `PING 10.77.0.101 (10.77.0.101) 56(84) bytes of data.
[1795432250.427916] 64 bytes from 10.77.0.101: icmp_seq=1 ttl=64 time=0.047 ms
[1795432250.440981] 64 bytes from 10.77.0.101: icmp_seq=2 ttl=64 time=0.018 ms
[1795432250.441000] 64 bytes from 10.77.0.101: icmp_seq=2 ttl=64 time=0.118 ms (DUP!)
[1795432251.440981] From 10.77.0.11 icmp_seq=9 Destination Host Unreachable
[1795432251.540981] 64 bytes from 10.77.0.101: icmp_seq=30 ttl=64 time=0.018 ms

--- 10.77.0.101 ping statistics ---
31 packets transmitted, 3 received, +1 duplicates, +1 errors, 90% packet loss, time 1100ms
`;
  const ANSWERS = [1_795_432_250_427.916, 1_795_432_250_440.981, 1_795_432_251_540.981];

  it.each([1, 7, 64, TEXT.length])('is read in pieces of %i characters', (size) => {
    const output = new PingOutput();
    for (let at = 0; at < TEXT.length; at += size) output.push(TEXT.slice(at, at + size));
    expect(output.answers).toHaveLength(3);
    for (const [index, at] of ANSWERS.entries()) expect(output.answers[index]).toBeCloseTo(at, 2);
    expect(output).toMatchObject({ sent: 31, trouble: 'From 10.77.0.11: Destination Host Unreachable' });
  });

  it('counts what was asked without its sums', () => {
    const output = new PingOutput();
    output.push(TEXT.slice(0, TEXT.indexOf('---')));
    expect(output.sent).toBe(30);
  });

  it('is read from IPv6 too', () => {
    const output = new PingOutput();
    output.push('[1795432252.490349] 64 bytes from fd00::1: icmp_seq=1 ttl=64 time=0.200 ms\n');
    expect(output.answers).toHaveLength(1);
  });
});

describe('the address to look at', () => {
  const mac = '52:54:00:00:00:01';
  it.each([
    ['an IPv4 before an IPv6', [{ mac, addresses: ['fd00::5', '10.0.0.5'] }], '10.0.0.5'],
    ['an IPv6 where there is no IPv4', [{ mac, addresses: ['fe80::1', 'fd00::5'] }], 'fd00::5'],
    ['no link-local ones', [{ mac, addresses: ['fe80::1', '169.254.3.4'] }], undefined],
    ['no loopback', [{ mac, addresses: ['127.0.0.1', '::1'] }], undefined],
    [
      'one that can be reached after one that cannot',
      [
        { mac: undefined, addresses: ['127.0.0.1'] },
        { mac, addresses: ['169.254.0.1', '10.0.0.5'] },
      ],
      '10.0.0.5',
    ],
    ['none that is no address', [{ mac, addresses: ['10.0.0.5; reboot', '-f'] }], undefined],
  ])('is %s', (_, interfaces, address) => {
    expect(chooseAddress(interfaces)).toBe(address);
  });

  const find = async (world: World) => {
    const domain = (await connect(world.fleet, 'kvm-a', 'qemu:///system')).find(VM);
    await world.clock.advance(10);
    const found = findAddress((await domain)!);
    await world.clock.advance(100);
    return found;
  };

  it('is what the agent says of an interface that the domain has, and of no other', async () => {
    const world = new World({ address: '10.1.0.5' });
    const found = connect(world.fleet, 'kvm-a', 'qemu:///system').then(async (connection) => {
      const domain = (await connection.find(VM))!;
      const [nic] = await domain.guestAddresses('arp');
      const inside = { mac: '02:42:00:00:00:01', addresses: ['172.17.0.1'] };
      const loopback = { mac: undefined, addresses: ['10.9.9.9'] };
      const arp = domain.guestAddresses.bind(domain);
      domain.guestAddresses = async (source) =>
        source === 'arp' ? arp(source) : [inside, loopback, { mac: nic?.mac, addresses: ['10.1.0.77'] }];
      return findAddress(domain);
    });
    await world.clock.runUntilIdle();
    expect(await found).toEqual({ address: '10.1.0.77', addressFrom: 'guest-agent' });
  });

  it('is taken from the neighbour table of a host whose guest has no agent', async () => {
    expect(await find(new World({ address: '10.1.0.5' }))).toEqual({ address: '10.1.0.5', addressFrom: 'arp' });
  });

  it('is not known when nobody knows it, or nobody answers', async () => {
    expect(await find(new World())).toBeUndefined();
    const world = new World({ address: '10.1.0.5' });
    const domain = (await connect(world.fleet, 'kvm-a', 'qemu:///system')).find(VM);
    await world.clock.advance(10);
    const known = (await domain)!;
    world.source.becomeUnreachable();
    expect(await findAddress(known)).toBeUndefined();
  });
});

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
