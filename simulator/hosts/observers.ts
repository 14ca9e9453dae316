import type { Observers } from '../../agent/deps.ts';
import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import { type ObserverDeps, runObserver } from '../../agent/observe/observer.ts';
import { SimulatedProcess, type WatchBoundaries } from './process.ts';

export interface SimulatedObserversOptions extends Omit<ObserverDeps, 'connect'> {
  hostId?: string;
  connect(uri: string, process?: SimulatedProcess): Promise<HypervisorConnection>;
  watch?: WatchBoundaries;
}

/** SIMULATED: the observers of one host, in this process. */
export class SimulatedObservers implements Observers {
  readonly #options: SimulatedObserversOptions;
  readonly #running = new Set<SimulatedProcess>();

  constructor(options: SimulatedObserversOptions) {
    this.#options = options;
  }

  async start(task: Parameters<Observers['start']>[0]): Promise<void> {
    const { hostId = task.hostId, mailbox, clock, localUri, facts, connect, watch } = this.#options;
    const process = new SimulatedProcess('observer', hostId, task.migrationId, clock, watch);
    this.#running.add(process);
    const runtime: ObserverDeps = {
      mailbox: process.mailbox(mailbox),
      clock: process.clock(clock),
      connect: (uri) => process.connect(() => connect(uri, process)),
      localUri,
      facts: process.facts(facts),
    };
    // One that cannot report in all its patience ends without a word, as the real one does.
    void runObserver(runtime, task).then(
      () => this.#running.delete(process),
      () => this.#running.delete(process),
    );
  }

  /** As when the host's processes die. */
  killAll(): void {
    for (const process of this.#running) process.kill();
    this.#running.clear();
  }
}
