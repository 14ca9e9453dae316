import type { Lab } from '../hosts/lab.ts';
import { BRIDGE } from '../hosts/network.ts';
import { execText } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';

/** No interface has it, so the switch delivers what is sent to it to nobody. */
const NOBODY = '02:00:00:00:ff:fe';

/**
 * Lets all that a host sends to these addresses vanish, as a broken link does: connections that are open get no error, they
 * get no answers. (A blackhole route would tell new ones at once; a firewall may not be there.)
 */
export async function blackhole(lab: Lab, host: HostName, addresses: readonly string[]): Promise<void> {
  const lines = addresses.map((each) => `ip neigh replace ${each} lladdr ${NOBODY} dev ${BRIDGE} nud permanent`);
  await execText(lab, host, ['sh', '-e', '-c', lines.join('\n')]);
}

/** Lets them through again; addresses that were not blackholed do no harm. */
export async function lift(lab: Lab, host: HostName, addresses: readonly string[]): Promise<void> {
  const lines = addresses.map((each) => `ip neigh delete ${each} dev ${BRIDGE} 2>/dev/null || true`);
  await execText(lab, host, ['sh', '-c', lines.join('\n')]);
}
