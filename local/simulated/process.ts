import type { HostFacts } from '../../agent/host/facts.ts';
import type { Hypervisor } from '../../agent/hypervisor.ts';
import type { Mailbox } from '../../agent/mailbox.ts';
import type { Probe } from '../../agent/observe/probe.ts';
import type { Clock } from '../../contract/clock.ts';

/**
 * A moment at which a process is about to wait for something outside of it, or has just got its answer; or, `atDaemon`, at
 * which a daemon has got a call of the process, or is about to answer it.
 */
export interface Boundary {
  process: SimulatedProcess;
  /** What it waits for: a call of the hypervisor or of the mailbox. */
  call: string;
  moment: 'before' | 'after';
  atDaemon: boolean;
}

export type WatchBoundaries = (boundary: Boundary) => void;

/**
 * SIMULATED: a process on a host, which can be killed: from then on none of its calls is made or answered, so that nothing is
 * heard of it any more, and its connections are gone.
 */
export class SimulatedProcess {
  readonly kind: 'agent' | 'mover';
  readonly hostId: string;
  readonly migrationId: string;
  readonly #watch: WatchBoundaries | undefined;
  readonly #connections = new Set<Hypervisor>();
  readonly #probes = new Set<Probe>();
  #dead = false;

  constructor(kind: 'agent' | 'mover', hostId: string, migrationId: string, watch?: WatchBoundaries) {
    this.kind = kind;
    this.hostId = hostId;
    this.migrationId = migrationId;
    this.#watch = watch;
  }

  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const connection of this.#connections) void connection.close();
    for (const probe of this.#probes) void probe.stop();
  }

  /** A call to the outside: the process can be killed before it, during it and right after it. */
  async call<T>(name: string, action: () => Promise<T>): Promise<T> {
    this.#watch?.({ process: this, call: name, moment: 'before', atDaemon: false });
    if (this.#dead) return never();
    try {
      return await action();
    } finally {
      this.#watch?.({ process: this, call: name, moment: 'after', atDaemon: false });
      // Whatever came back, a dead process does nothing with it.
      if (this.#dead) await never();
    }
  }

  /** What the daemon does for a call of this process, whether the process lives or not. */
  async atDaemon<T>(name: string, action: () => Promise<T>): Promise<T> {
    this.#watch?.({ process: this, call: name, moment: 'before', atDaemon: true });
    try {
      return await action();
    } finally {
      this.#watch?.({ process: this, call: name, moment: 'after', atDaemon: true });
    }
  }

  clock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      sleep: async (ms, signal) => {
        if (this.#dead) return never();
        await clock.sleep(ms, signal);
        if (this.#dead) await never();
      },
      timer: (ms, fire) =>
        clock.timer(ms, () => {
          if (!this.#dead) fire();
        }),
    };
  }

  mailbox(mailbox: Mailbox): Mailbox {
    return {
      readOrder: (id) => this.call('readOrder', () => mailbox.readOrder(id)),
      claim: (id) => this.call('claim', () => mailbox.claim(id)),
      report: (report) => this.call('report', () => mailbox.report(report)),
      ended: (id) => this.call('ended', () => mailbox.ended(id)),
      readTicket: (id) => this.call('readTicket', () => mailbox.readTicket(id)),
      commit: (id, mover) => this.call('commit', () => mailbox.commit(id, mover)),
    };
  }

  /** Its probes end with it. */
  facts(facts: HostFacts): HostFacts {
    return {
      ...facts,
      probe: (address) => {
        const probe = facts.probe(address);
        this.#probes.add(probe);
        return probe;
      },
    };
  }

  connect<C extends Hypervisor>(connect: () => Promise<C>): Promise<C> {
    return this.call('connect', async () => {
      const connection = await connect();
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
      if (this.#dead) void connection.close();
      return connection;
    });
  }
}

const never = () => new Promise<never>(() => {});
