import type { Lab } from '../hosts/lab.ts';
import { BRIDGE } from '../hosts/network.ts';
import { execText } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';

/** A MAC address that no interface has: the switch delivers such frames nowhere. */
const NOBODY = '02:00:00:00:ff:fe';

/**
 * Drops everything that a host sends to these addresses, as a broken link does: open connections get no error and no answers. (A
 * blackhole route would fail new connections at once; a firewall may not be there.)
 */
export async function blackhole(lab: Lab, host: HostName, addresses: readonly string[]): Promise<void> {
  const lines = addresses.map((each) => `ip neigh replace ${each} lladdr ${NOBODY} dev ${BRIDGE} nud permanent`);
  await execText(lab, host, ['sh', '-e', '-c', lines.join('\n')]);
}

/** Ends the blackhole; has no effect on addresses without one. */
export async function removeBlackhole(lab: Lab, host: HostName, addresses: readonly string[]): Promise<void> {
  const lines = addresses.map((each) => `ip neigh delete ${each} dev ${BRIDGE} 2>/dev/null || true`);
  await execText(lab, host, ['sh', '-c', lines.join('\n')]);
}
