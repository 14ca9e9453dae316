import type { HostFacts } from '../../agent/host/facts.ts';
import type { Probe } from '../../agent/host/probe.ts';
import type { Hypervisor } from '../../agent/hypervisor.ts';
import type { Mailbox } from '../../agent/mailbox.ts';
import type { ImageFiles } from '../../agent/migrated-storage/images.ts';
import type { Clock } from '../../common/clock.ts';
import type { ClientProcess } from '../hypervisor/session.ts';

/**
 * A moment at which a process is about to wait for something outside of it, or has just got its answer; or, `atDaemon`, at
 * which a daemon has got a call of the process, or is about to answer it.
 */
export interface Boundary {
  process: SimulatedProcess;
  /** What it waits for: a call of the hypervisor, of the mailbox or of a file system. */
  call: string;
  moment: 'before' | 'after';
  atDaemon: boolean;
}

/** Agents end with their SSM command; movers and observers outlive theirs. */
export type ProcessKind = 'agent' | 'mover' | 'observer';

export type WatchBoundaries = (boundary: Boundary) => void;

/**
 * SIMULATED: a process on a host, which can be killed: from then on none of its calls is made or answered, so that nothing is
 * heard of it any more, and its connections are gone. It can also be made to stand still for a while: what it waits for comes
 * meanwhile, and it does nothing about it.
 */
export class SimulatedProcess implements ClientProcess {
  readonly kind: ProcessKind;
  readonly hostId: string;
  readonly migrationId: string;
  readonly #clock: Clock;
  readonly #watch: WatchBoundaries | undefined;
  readonly #stalls = new Set<() => void>();
  readonly #connections = new Set<Hypervisor>();
  readonly #probes = new Set<Probe>();
  #dead = false;
  #wakesAt = 0;

  constructor(kind: ProcessKind, hostId: string, migrationId: string, clock: Clock, watch?: WatchBoundaries) {
    this.#clock = clock;
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

  /** As when its host is overloaded, or the process gets SIGSTOP. It can still be killed. */
  stall(ms: number): void {
    this.#wakesAt = Math.max(this.#wakesAt, this.#clock.now() + ms);
    for (const begun of [...this.#stalls]) begun();
  }

  get stalled(): boolean {
    return this.#wakesAt > this.#clock.now();
  }

  onStall(begun: () => void): () => void {
    this.#stalls.add(begun);
    return () => void this.#stalls.delete(begun);
  }

  async whenAwake(): Promise<void> {
    while (this.stalled) await this.#clock.sleep(this.#wakesAt - this.#clock.now());
    if (this.#dead) await never();
  }

  /** A call to the outside: the process can be killed before it, during it and right after it. */
  async call<T>(name: string, action: () => Promise<T>): Promise<T> {
    this.#watch?.({ process: this, call: name, moment: 'before', atDaemon: false });
    if (this.stalled) await this.whenAwake();
    if (this.#dead) return never();
    try {
      return await action();
    } finally {
      this.#watch?.({ process: this, call: name, moment: 'after', atDaemon: false });
      if (this.stalled) await this.whenAwake();
      // Whatever came back, a dead process does nothing with it.
      if (this.#dead) await never();
    }
  }

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
        if (this.stalled) await this.whenAwake();
        if (this.#dead) await never();
      },
      timer: (ms, fire) => {
        let cancel = () => {};
        const wait = (forMs: number) => {
          cancel = clock.timer(forMs, () => {
            if (this.stalled) wait(this.#wakesAt - clock.now());
            else if (!this.#dead) fire();
          });
        };
        wait(ms);
        return () => cancel();
      },
    };
  }

  mailbox(mailbox: Mailbox): Mailbox {
    return {
      readTask: (id) => this.call('readTask', () => mailbox.readTask(id)),
      claim: (id) => this.call('claim', () => mailbox.claim(id)),
      report: (report) => this.call('report', () => mailbox.report(report)),
      ended: (id) => this.call('ended', () => mailbox.ended(id)),
      readCommitRecord: (id) => this.call('readCommitRecord', () => mailbox.readCommitRecord(id)),
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

  /** Between any two changes of its files it can be killed as well. */
  images(images: ImageFiles): ImageFiles {
    return {
      create: (...to) => this.call('image', () => images.create(...to)),
      link: (...to) => this.call('image', () => images.link(...to)),
      identity: (...to) => this.call('image', () => images.identity(...to)),
      remove: (...to) => this.call('image', () => images.remove(...to)),
      space: (...to) => this.call('image', () => images.space(...to)),
      mustMakeImages: () => this.call('image', () => images.mustMakeImages()),
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
