import { setTimeout as sleep } from 'node:timers/promises';
import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { Lab } from '../hosts/lab.ts';
import { type HostName, libvirtSocketOf } from '../hosts/plan.ts';

/** One host's copy of the VM at one moment; `detail` is libvirt's state with its reason. */
export interface CopyObservation {
  state: CopyState | 'no answer';
  detail: string;
}

export interface Observation {
  source: CopyObservation;
  destination: CopyObservation;
  double: boolean;
}

const EVERY_MS = 100;
/** Over a local socket; a daemon that takes longer is not answering. */
const ANSWER_MS = 1_000;

/**
 * Polls the state of both hosts' copies of a VM, through sockets that no fault reaches. A double that falls between two polls, or
 * while a daemon is down, shows on the guest's disk: a second running copy overwrites the ticks of the first.
 */
export class DomainStateMonitor {
  readonly #hosts: { source: HostConnection; destination: HostConnection };
  readonly #onStates: (sight: Observation) => void;
  readonly #polling: Promise<void>;
  readonly #began = performance.now();
  #stopped = false;
  #last: Observation | undefined;
  doubles = 0;
  /** Each change of the states, with the time since polling began, in ms. */
  readonly history: { atMs: number; source: string; destination: string }[] = [];

  constructor(lab: Lab, vm: string, hosts: { from: HostName; to: HostName }, onStates: (sight: Observation) => void) {
    this.#hosts = {
      source: new HostConnection(lab, hosts.from, vm),
      destination: new HostConnection(lab, hosts.to, vm),
    };
    this.#onStates = onStates;
    this.#polling = this.#poll();
  }

  get last(): Observation | undefined {
    return this.#last;
  }

  async read(): Promise<Observation> {
    const { source, destination } = this.#hosts;
    const before = await source.read();
    const there = await destination.read();
    // The source is read again: a switch between two reads must not be taken for two running copies.
    const double = before.state === 'running' && there.state === 'running' && (await source.read()).state === 'running';
    return { source: before, destination: there, double };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#polling;
    await Promise.all([this.#hosts.source.close(), this.#hosts.destination.close()]);
  }

  #remember({ source, destination }: Observation): void {
    const before = this.history.at(-1);
    if (before?.source === source.detail && before.destination === destination.detail) return;
    const atMs = Math.round(performance.now() - this.#began);
    this.history.push({ atMs, source: source.detail, destination: destination.detail });
  }

  async #poll(): Promise<void> {
    while (!this.#stopped) {
      const states = await this.read();
      this.#remember(states);
      if (states.double) this.doubles++;
      this.#last = states;
      this.#onStates(states);
      await sleep(EVERY_MS);
    }
  }
}

/** One host's libvirt, connected again whenever the connection was lost. */
class HostConnection {
  readonly #uri: string;
  readonly #vm: string;
  #connection: HypervisorConnection | undefined;

  constructor(lab: Lab, host: HostName, vm: string) {
    this.#uri = `qemu+unix:///system?socket=${libvirtSocketOf(lab, host)}`;
    this.#vm = vm;
  }

  async read(): Promise<CopyObservation> {
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
