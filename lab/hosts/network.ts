import { outcomeOf, run } from '../command.ts';
import { macOf } from './mac.ts';
import { execText, nodePid } from './node.ts';
import { addressOf, type HostName, type LabPlan, type NodeName, nodesOf } from './plan.ts';
import { until } from './until.ts';

/** The bridge guests are plugged into on every host; in the rack, the switch itself. */
export const BRIDGE = 'br0';

/**
 * Plugs every node and the machine into the rack's switch. The switch is in a namespace of its own and not the machine's
 * because there a firewall (Docker's, say) may filter what a bridge forwards.
 */
export async function connectNodes(plan: LabPlan): Promise<void> {
  const rack = nodePid(plan, 'rack');
  await addBridge(plan, 'rack', BRIDGE);
  await run(['ip', 'link', 'add', plan.uplink, 'type', 'veth', 'peer', 'name', 'machine', 'netns', `${rack}`]);
  await run(['ip', 'address', 'add', `${addressOf(plan, 'machine')}/24`, 'dev', plan.uplink]);
  await run(['ip', 'link', 'set', plan.uplink, 'up']);
  await plugIn(plan, 'rack', 'machine');
  await setAddress(plan, 'rack', BRIDGE);
  for (const node of nodesOf(plan).filter((node) => node !== 'rack')) {
    const peer = ['peer', 'name', 'eth0', 'netns', `${nodePid(plan, node)}`];
    await run(['ip', 'link', 'add', 'name', node, 'netns', `${rack}`, 'type', 'veth', ...peer]);
    await plugIn(plan, 'rack', node);
    if (node === 'client') {
      await setAddress(plan, node, 'eth0');
      await ip(plan, node, 'link', 'set', 'eth0', 'up');
    } else {
      await addBridge(plan, node, BRIDGE);
      await plugIn(plan, node, 'eth0');
      await setAddress(plan, node, BRIDGE);
    }
  }
}

/** Takes the machine's own interface away; the others go with their nodes. */
export async function removeUplink(uplink: string): Promise<void> {
  await until(`${uplink} is gone`, async () => {
    const links = JSON.parse(await run(['ip', '-json', 'link', 'show'])) as { ifname: string }[];
    if (!links.some((link) => link.ifname === uplink)) return true;
    // Fails when the kernel has just removed it itself, with the node at its other end.
    await outcomeOf(['ip', 'link', 'delete', uplink]);
    return false;
  });
}

/** Adds a bridge to a node: for a guest whose network exists on one host only. */
export async function addBridge(plan: LabPlan, node: NodeName, bridge: string): Promise<void> {
  await ip(plan, node, 'link', 'add', bridge, 'type', 'bridge');
  await ip(plan, node, 'link', 'set', bridge, 'up');
}

/** Pulls a host's cable, or plugs it in again. Guests, disks, libvirt and AWS all go over it. */
export async function setLink(plan: LabPlan, host: HostName, state: 'up' | 'down'): Promise<void> {
  await ip(plan, 'rack', 'link', 'set', host, state);
}

/** Limits a host's link in both directions, in MiB/s; `undefined` removes the limit. */
export async function limitLink(plan: LabPlan, host: HostName, rate: number | undefined): Promise<void> {
  await limitDevice(plan, host, 'eth0', rate);
  await limitDevice(plan, 'rack', host, rate);
}

/** Limits what a node sends on one of its interfaces, in MiB/s; `undefined` removes the limit. */
export async function limitDevice(
  plan: LabPlan,
  node: NodeName,
  device: string,
  rate: number | undefined,
): Promise<void> {
  const root = ['dev', device, 'root'];
  if (rate === undefined) {
    // Fails when there is no limit to remove.
    await execText(plan, node, ['sh', '-c', `tc qdisc delete ${root.join(' ')} 2>/dev/null || true`]);
  } else {
    const bytes = Math.round(rate * 1024 * 1024);
    // A bucket of 10 ms: smaller than what the kernel sends between two of its timer ticks would hold the link below the rate.
    const bucket = Math.max(128 * 1024, Math.round(bytes / 100));
    const tbf = ['tbf', 'rate', `${bytes}bps`, 'burst', `${bucket}`, 'latency', '50ms'];
    await execText(plan, node, ['tc', 'qdisc', 'replace', ...root, ...tbf]);
  }
}

async function plugIn(plan: LabPlan, node: NodeName, device: string): Promise<void> {
  await ip(plan, node, 'link', 'set', device, 'master', BRIDGE, 'up');
}

/**
 * Gives a node's interface its IP and MAC addresses. A bridge without a MAC address of its own takes the lowest of its ports',
 * and so changes it, cutting every connection for half a minute, when the tap of an arriving guest happens to be lower.
 */
async function setAddress(plan: LabPlan, node: NodeName, device: string): Promise<void> {
  const address = addressOf(plan, node);
  await ip(plan, node, 'address', 'add', `${address}/24`, 'dev', device);
  await ip(plan, node, 'link', 'set', device, 'address', macOf('02:00', address));
}

async function ip(plan: LabPlan, node: NodeName, ...args: string[]): Promise<void> {
  await execText(plan, node, ['ip', ...args]);
}
