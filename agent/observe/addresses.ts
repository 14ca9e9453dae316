import { BlockList, isIP } from 'node:net';
import type { GuestAddress } from '../../contract/forecast.ts';
import { parseDomain } from '../domain-xml.ts';
import type { Domain, GuestInterface } from '../hypervisor.ts';

/** Addresses at which a guest cannot be reached from outside. */
const UNREACHABLE = new BlockList();
UNREACHABLE.addSubnet('0.0.0.0', 8);
UNREACHABLE.addSubnet('127.0.0.0', 8);
UNREACHABLE.addSubnet('169.254.0.0', 16);
UNREACHABLE.addSubnet('224.0.0.0', 3);
UNREACHABLE.addAddress('::', 'ipv6');
UNREACHABLE.addAddress('::1', 'ipv6');
UNREACHABLE.addSubnet('fe80::', 10, 'ipv6');
UNREACHABLE.addSubnet('ff00::', 8, 'ipv6');

/** The address to probe: the first IPv4 address that can be reached from outside, else the first IPv6 address. */
export function chooseAddress(interfaces: readonly GuestInterface[]): string | undefined {
  const all = interfaces.flatMap(({ addresses }) => addresses);
  const usable = (family: 4 | 6) =>
    all.find((address) => isIP(address) === family && !UNREACHABLE.check(address, family === 4 ? 'ipv4' : 'ipv6'));
  return usable(4) ?? usable(6);
}

/**
 * Asks the guest agent, then the host's neighbour table, which has the guests that this host exchanged packets with recently. Never
 * rejects: a guest without a known address is migrated without a measurement.
 */
export async function findAddress(domain: Domain): Promise<GuestAddress | undefined> {
  return (await askAgent(domain)) ?? findNeighbour(domain);
}

/** As findAddress, from the neighbour table alone: other queries on an incoming copy wait in libvirt. */
export async function findNeighbour(domain: Domain): Promise<GuestAddress | undefined> {
  try {
    const address = chooseAddress(await domain.guestAddresses('arp'));
    return address === undefined ? undefined : { address, addressFrom: 'arp' };
  } catch {
    return undefined;
  }
}

/**
 * The guest agent also reports interfaces that exist only inside the guest (bridges of containers, tunnels). The domain XML does not
 * have their hardware addresses.
 */
async function askAgent(domain: Domain): Promise<GuestAddress | undefined> {
  try {
    const interfaces = await domain.guestAddresses('guest-agent');
    const macs = parseDomain(await domain.xml()).interfaces.map(({ mac }) => mac);
    const address = chooseAddress(interfaces.filter(({ mac }) => mac !== undefined && macs.includes(mac)));
    return address === undefined ? undefined : { address, addressFrom: 'guest-agent' };
  } catch {
    return undefined;
  }
}
