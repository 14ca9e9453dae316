import type { Copy } from './copy.ts';
import { connectionError } from './errors.ts';
import type { SimulatedFleet } from './fleet.ts';
import type { CallName, SimulatedHost } from './host.ts';
import { CALL_MS, KEEPALIVE_MS } from './timings.ts';

/** What a connection needs of the process that opened it. */
export interface ClientProcess {
  /** A stalled process answers no keepalive. */
  readonly stalled: boolean;
  /** Calls `begun` at each stall. Returns what ends that. */
  onStall(begun: () => void): () => void;
  /** Makes a call to the outside, during which the process may stall or be killed. */
  call<T>(name: string, action: () => Promise<T>): Promise<T>;
  /** What the daemon does for a call of this process, whether the process lives or not. */
  atDaemon<T>(name: string, action: () => Promise<T>): Promise<T>;
}

/** The two ends of a connection. */
export interface SessionEnds {
  host: SimulatedHost;
  uri: string;
  clientHostId: string;
  process: ClientProcess | undefined;
}

/**
 * SIMULATED: the session behind a client's connection to one host's daemon, and what the daemon does when the session ends. It has
 * two ends. While the network between them is cut, each end finds out by itself that the other is gone.
 */
export class Session {
  readonly uri: string;
  /** Resolves when the client's end is closed. */
  readonly closed: Promise<void>;
  readonly fleet: SimulatedFleet;
  readonly host: SimulatedHost;
  readonly #clientHostId: string;
  readonly #process: ClientProcess | undefined;
  readonly #ended = Promise.withResolvers<void>();
  readonly #endClient: () => void;
  readonly #endDaemon: () => void;
  readonly #jobs = new Set<() => void>();
  /** Ends each call whose answer is still to come. */
  readonly #unanswered = new Set<() => void>();
  #clientOpen = true;
  #daemonOpen = true;

  constructor(fleet: SimulatedFleet, { host, uri, clientHostId, process }: SessionEnds) {
    this.fleet = fleet;
    this.host = host;
    this.uri = uri;
    this.#clientHostId = clientHostId;
    this.#process = process;
    this.closed = this.#ended.promise;
    const timeoutMs = () => KEEPALIVE_MS.least + fleet.random() * KEEPALIVE_MS.interval;
    const onSilence = (gone: () => void) => fleet.network.onSilence(clientHostId, host.spec.hostId, timeoutMs, gone);
    const forgetClient = onSilence(() => this.#clientGone());
    const forgetSilence = onSilence(() => this.#daemonGone());
    const forgetSevering = host.connected(() => {
      this.#daemonGone();
      this.#clientGone();
    });
    const forgetStalls = process?.onStall(() => {
      fleet.clock.timer(timeoutMs(), () => {
        if (!process.stalled) return;
        this.#daemonGone();
        this.#clientGone();
      });
    });
    this.#endClient = forgetClient;
    this.#endDaemon = () => {
      forgetSilence();
      forgetStalls?.();
      forgetSevering();
    };
  }

  /** Whether the daemon's end is open. */
  get open(): boolean {
    return this.#daemonOpen;
  }

  async close(): Promise<void> {
    if (!this.#clientOpen) return;
    this.#clientGone();
    // The daemon learns of it at once, unless the network is cut.
    if (this.fleet.network.isUp(this.#clientHostId, this.host.spec.hostId)) this.#daemonGone();
    else void this.#whenReachable()?.then(() => this.#daemonGone());
  }

  /** One call: it takes time, a fault may be injected, and it fails when the session ends before its answer. */
  call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    const exchange = () => this.#exchange(name, action);
    return this.#process === undefined ? exchange() : this.#process.call(name, exchange);
  }

  #exchange<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    if (!this.#clientOpen) return Promise.reject(connectionError(`the connection to ${this.uri} is closed`));
    const answer = this.host.through(name, async () => {
      await this.fleet.clock.sleep(CALL_MS);
      const reached = this.#whenReachable();
      if (reached !== undefined) await reached;
      if (!this.#daemonOpen) throw connectionError(`the connection to ${this.uri} is closed`);
      // An answer to a client that is gone goes nowhere: see the race below.
      try {
        return await (this.#process === undefined ? action() : this.#process.atDaemon(name, action));
      } finally {
        const answered = this.#whenReachable();
        if (answered !== undefined) await answered;
      }
    });
    return new Promise((resolve, reject) => {
      const lost = () => reject(connectionError(`the connection to ${this.uri} was lost`));
      this.#unanswered.add(lost);
      // A fault may have ended the session as the call was made.
      if (!this.#clientOpen) lost();
      answer.then(resolve, reject).finally(() => this.#unanswered.delete(lost));
    });
  }

  /** Undefined while the network is up: then there is nothing to wait for. */
  #whenReachable(): Promise<void> | undefined {
    const [client, host] = [this.#clientHostId, this.host.spec.hostId];
    return this.fleet.network.isUp(client, host) ? undefined : this.fleet.network.whenUp(client, host);
  }

  #clientGone(): void {
    if (!this.#clientOpen) return;
    this.#clientOpen = false;
    this.#endClient();
    this.#ended.resolve();
    for (const lost of this.#unanswered) lost();
  }

  /** What libvirt does when a client goes: it removes the copies that the client prepared, and drops the client's jobs. */
  #daemonGone(): void {
    if (!this.#daemonOpen) return;
    this.#daemonOpen = false;
    this.#endDaemon();
    for (const [name, copy] of this.host.copies) {
      if (copy.preparedBy !== this) continue;
      if (copy.postCopy !== undefined) this.fleet.onHalfLost(name);
      this.host.remove(name);
    }
    for (const drop of this.#jobs) drop();
  }

  /** Ties an outgoing job to this session. */
  owns(copy: Copy): void {
    const drop = () => {
      // The daemon completes a Confirm under way.
      if (copy.confirming) return;
      if (copy.postCopy !== undefined) {
        copy.postCopy.leave();
        return;
      }
      // After Perform only Confirm could decide the outcome: the copy stays paused, without a job.
      if (!copy.performed) copy.outgoing?.end(connectionError(`the client's connection was lost`));
      delete copy.outgoing;
    };
    this.#jobs.add(drop);
    if (!this.#daemonOpen) drop();
  }
}
