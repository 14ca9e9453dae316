import { setTimeout as sleep } from 'node:timers/promises';
import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { Lab } from '../hosts/lab.ts';
import { type HostName, libvirtSocketOf } from '../hosts/plan.ts';

/** What one host showed of the VM at one moment; `detail` has libvirt's own words. */
export interface Seen {
  state: CopyState | 'no answer';
  detail: string;
}

export interface Sight {
  source: Seen;
  destination: Seen;
  double: boolean;
}

const EVERY_MS = 100;
/** Over a local socket; a daemon that takes longer is not answering. */
const ANSWER_MS = 1_000;

/**
 * Watches both hosts' copies of a VM all the time, through sockets that no fault reaches. What falls between two looks, or
 * while a daemon is down, the guest's own disk tells: a second running copy overwrites the ticks of the first.
 */
export class DomainStateMonitor {
  readonly #hosts: { source: Host; destination: Host };
  readonly #seen: (sight: Sight) => void;
  readonly #watching: Promise<void>;
  readonly #began = performance.now();
  #stopped = false;
  #last: Sight | undefined;
  doubles = 0;
  /** Each change of what was seen, with its time since the watch began, in ms: for whoever looks into a cell. */
  readonly history: { atMs: number; source: string; destination: string }[] = [];

  constructor(lab: Lab, vm: string, hosts: { from: HostName; to: HostName }, seen: (sight: Sight) => void) {
    this.#hosts = { source: new Host(lab, hosts.from, vm), destination: new Host(lab, hosts.to, vm) };
    this.#seen = seen;
    this.#watching = this.#watch();
  }

  get last(): Sight | undefined {
    return this.#last;
  }

  async look(): Promise<Sight> {
    const { source, destination } = this.#hosts;
    const before = await source.look();
    const there = await destination.look();
    // Both at the same moment: a switch between two looks must not be taken for two running copies.
    const double = before.state === 'running' && there.state === 'running' && (await source.look()).state === 'running';
    return { source: before, destination: there, double };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#watching;
    await Promise.all([this.#hosts.source.close(), this.#hosts.destination.close()]);
  }

  #remember({ source, destination }: Sight): void {
    const before = this.history.at(-1);
    if (before?.source === source.detail && before.destination === destination.detail) return;
    const atMs = Math.round(performance.now() - this.#began);
    this.history.push({ atMs, source: source.detail, destination: destination.detail });
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const sight = await this.look();
      this.#remember(sight);
      if (sight.double) this.doubles++;
      this.#last = sight;
      this.#seen(sight);
      await sleep(EVERY_MS);
    }
  }
}

/** One host's libvirt, connected to anew whenever it was away. */
class Host {
  readonly #uri: string;
  readonly #vm: string;
  #connection: HypervisorConnection | undefined;

  constructor(lab: Lab, host: HostName, vm: string) {
    this.#uri = `qemu+unix:///system?socket=${libvirtSocketOf(lab, host)}`;
    this.#vm = vm;
  }

  async look(): Promise<Seen> {
    try {
      this.#connection ??= await connectLibvirt(this.#uri, { connectTimeoutMs: ANSWER_MS, callTimeoutMs: ANSWER_MS });
      const domain = await this.#connection.find(this.#vm);
      return domain === undefined ? { state: 'absent', detail: 'absent' } : await domain.state();
    } catch {
      await this.close();
      return { state: 'no answer', detail: 'no answer' };
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close().catch(() => {});
  }
}
