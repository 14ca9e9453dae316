import { run } from '../command.ts';
import { limitDevice } from './network.ts';
import { execText, nodePid } from './node.ts';
import { addressOf, type HostName, type LabPlan } from './plan.ts';

/** The interface of the link on either host. */
const DEVICE = 'migration';

/**
 * A dedicated link between two hosts, like a migration network: it carries everything that one host sends to the other's address, and
 * nothing else. A limit on it slows migrations down and does not affect guests, disks and AWS.
 */
export class MigrationLink {
  readonly #plan: LabPlan;
  readonly #ends: readonly [HostName, HostName];

  private constructor(plan: LabPlan, ends: readonly [HostName, HostName]) {
    this.#plan = plan;
    this.#ends = ends;
  }

  static async between(plan: LabPlan, one: HostName, other: HostName): Promise<MigrationLink> {
    const [here, there] = [nodePid(plan, one), nodePid(plan, other)];
    const peer = ['peer', 'name', DEVICE, 'netns', `${there}`];
    await run(['ip', 'link', 'add', 'name', DEVICE, 'netns', `${here}`, 'type', 'veth', ...peer]);
    for (const host of [one, other]) await execText(plan, host, ['ip', 'link', 'set', DEVICE, 'up']);
    for (const [host, to] of [
      [one, other],
      [other, one],
    ] as const) {
      // A route to one address goes before the one to the whole network.
      const route = [`${addressOf(plan, to)}/32`, 'dev', DEVICE, 'src', addressOf(plan, host)];
      await execText(plan, host, ['ip', 'route', 'add', ...route]);
    }
    return new MigrationLink(plan, [one, other]);
  }

  /** Limits the link in both directions, in MiB/s; `undefined` removes the limit. */
  async limit(rate: number | undefined): Promise<void> {
    for (const host of this.#ends) await limitDevice(this.#plan, host, DEVICE, rate);
  }

  /** Bytes carried since the link was made, both directions together, headers included. */
  async carriedBytes(): Promise<number> {
    const [host] = this.#ends;
    const counters = ['tx_bytes', 'rx_bytes'].map((counter) => `/sys/class/net/${DEVICE}/statistics/${counter}`);
    const text = await execText(this.#plan, host, ['cat', ...counters]);
    return text
      .trim()
      .split('\n')
      .reduce((sum, line) => sum + Number(line), 0);
  }
}
