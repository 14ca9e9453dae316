import { BlockList, isIP } from 'node:net';
import type { GuestAddress } from '../../contract/forecast.ts';
import { parseDomain } from '../domain-xml.ts';
import type { Domain, GuestInterface } from '../hypervisor.ts';

/** Addresses that say nothing of where the guest can be reached from outside. */
const UNREACHABLE = new BlockList();
UNREACHABLE.addSubnet('0.0.0.0', 8);
UNREACHABLE.addSubnet('127.0.0.0', 8);
UNREACHABLE.addSubnet('169.254.0.0', 16);
UNREACHABLE.addSubnet('224.0.0.0', 3);
UNREACHABLE.addAddress('::', 'ipv6');
UNREACHABLE.addAddress('::1', 'ipv6');
UNREACHABLE.addSubnet('fe80::', 10, 'ipv6');
UNREACHABLE.addSubnet('ff00::', 8, 'ipv6');

/** The address to look at: the first IPv4 address that can be reached from outside, else the first IPv6 one. */
export function chooseAddress(interfaces: readonly GuestInterface[]): string | undefined {
  const all = interfaces.flatMap(({ addresses }) => addresses);
  const usable = (family: 4 | 6) =>
    all.find((address) => isIP(address) === family && !UNREACHABLE.check(address, family === 4 ? 'ipv4' : 'ipv6'));
  return usable(4) ?? usable(6);
}

/**
 * Asks the guest's agent, then the host's neighbour table, which knows guests that this host itself has talked to of late. Never
 * rejects: a guest whose address nobody knows is not looked at, and moves all the same.
 */
export async function findAddress(domain: Domain): Promise<GuestAddress | undefined> {
  return (await askAgent(domain)) ?? findNeighbour(domain);
}

/** As findAddress, of the neighbour table alone: of a copy that is being received libvirt tells nothing else without waiting. */
export async function findNeighbour(domain: Domain): Promise<GuestAddress | undefined> {
  try {
    const address = chooseAddress(await domain.guestAddresses('arp'));
    return address === undefined ? undefined : { address, addressFrom: 'arp' };
  } catch {
    return undefined;
  }
}

/**
 * An agent also names what is inside of its guest only (containers' bridges, tunnels); such interfaces have hardware addresses that
 * the domain does not know.
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
