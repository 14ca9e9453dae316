import type { Movers } from '../../agent/deps.ts';
import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import { ANSWER_TIMEOUT_MS } from '../../agent/mover/control-socket.ts';
import { Mover, type MoverDeps } from '../../agent/mover/mover.ts';
import { within } from '../../common/clock.ts';
import { SimulatedProcess, type WatchBoundaries } from './process.ts';

export interface SimulatedMoversOptions extends Omit<MoverDeps, 'connect'> {
  hostId?: string;
  connect(uri: string, process?: SimulatedProcess): Promise<HypervisorConnection>;
  watch?: WatchBoundaries;
}

/** SIMULATED: the movers of one host, in this process. */
export class SimulatedMovers implements Movers {
  readonly #options: SimulatedMoversOptions;
  readonly #running = new Map<string, { mover: Mover; process: SimulatedProcess }>();

  constructor(options: SimulatedMoversOptions) {
    this.#options = options;
  }

  async start(task: Parameters<Movers['start']>[0]): Promise<void> {
    // A second process for the same migration ends at once; the first one answers.
    if (this.#running.has(task.migrationId)) return;
    const { hostId = task.hostId, mailbox, clock, localUri, log, facts, connect, watch } = this.#options;
    const process = new SimulatedProcess('mover', hostId, task.migrationId, clock, watch);
    const surroundings: MoverDeps = {
      mailbox: process.mailbox(mailbox),
      clock: process.clock(clock),
      connect: (uri) => process.connect(() => connect(uri, process)),
      localUri,
      facts: process.facts(facts),
      log,
    };
    const mover = new Mover(surroundings, task);
    this.#running.set(task.migrationId, { mover, process });
    void mover.run().then(() => this.#forget(task.migrationId, process));
  }

  async cutover(migrationId: string, requestId: string): Promise<boolean> {
    const running = this.#running.get(migrationId);
    if (running === undefined) return false;
    const { mover, process } = running;
    if (process.stalled) {
      // The request stays in the mover's socket, also after its sender has given up.
      const heard = process.whenAwake().then(() => mover.cutover(requestId));
      await within(this.#options.clock, ANSWER_TIMEOUT_MS, heard, () => {
        throw new Error('the mover does not answer');
      });
    } else mover.cutover(requestId);
    return true;
  }

  cancel(migrationId: string): boolean {
    return this.#running.get(migrationId)?.mover.cancel() ?? false;
  }

  async fence(migrationId: string): Promise<'none' | 'killed'> {
    const running = this.#running.get(migrationId);
    if (running === undefined) return 'none';
    this.kill(running.process);
    return 'killed';
  }

  /** As when the host's processes die. */
  killAll(): void {
    for (const { process } of [...this.#running.values()]) this.kill(process);
  }

  kill(process: SimulatedProcess): void {
    this.#forget(process.migrationId, process);
    process.kill();
  }

  #forget(migrationId: string, process: SimulatedProcess): void {
    if (this.#running.get(migrationId)?.process === process) this.#running.delete(migrationId);
  }
}
