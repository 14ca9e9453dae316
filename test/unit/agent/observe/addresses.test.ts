import { describe, expect, it } from 'vitest';
import { chooseAddress, findAddress } from '../../../../agent/observe/addresses.ts';
import { connect } from '../../../../simulator/hypervisor/connection.ts';
import { AgentTestEnvironment, VM } from '../agent-test-environment.ts';

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

  const find = async (environment: AgentTestEnvironment) => {
    const domain = (await connect(environment.fleet, 'kvm-a', 'qemu:///system')).find(VM);
    await environment.clock.advance(10);
    const found = findAddress((await domain)!);
    await environment.clock.advance(100);
    return found;
  };

  it('is what the agent says of an interface that the domain has, and of no other', async () => {
    const environment = new AgentTestEnvironment({ address: '10.1.0.5' });
    const found = connect(environment.fleet, 'kvm-a', 'qemu:///system').then(async (connection) => {
      const domain = (await connection.find(VM))!;
      const [nic] = await domain.guestAddresses('arp');
      const inside = { mac: '02:42:00:00:00:01', addresses: ['172.17.0.1'] };
      const loopback = { mac: undefined, addresses: ['10.9.9.9'] };
      const arp = domain.guestAddresses.bind(domain);
      domain.guestAddresses = async (source) =>
        source === 'arp' ? arp(source) : [inside, loopback, { mac: nic?.mac, addresses: ['10.1.0.77'] }];
      return findAddress(domain);
    });
    await environment.clock.runUntilIdle();
    expect(await found).toEqual({ address: '10.1.0.77', addressFrom: 'guest-agent' });
  });

  it('is taken from the neighbour table of a host whose guest has no agent', async () => {
    expect(await find(new AgentTestEnvironment({ address: '10.1.0.5' }))).toEqual({
      address: '10.1.0.5',
      addressFrom: 'arp',
    });
  });

  it('is not known when nobody knows it, or nobody answers', async () => {
    expect(await find(new AgentTestEnvironment())).toBeUndefined();
    const environment = new AgentTestEnvironment({ address: '10.1.0.5' });
    const domain = (await connect(environment.fleet, 'kvm-a', 'qemu:///system')).find(VM);
    await environment.clock.advance(10);
    const known = (await domain)!;
    environment.source.becomeUnreachable();
    expect(await findAddress(known)).toBeUndefined();
  });
});
