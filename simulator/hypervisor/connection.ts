import type {
  Domain,
  HandshakeInput,
  HypervisorConnection,
  MigrationOptions,
  Versions,
} from '../../agent/hypervisor.ts';
import type { DomainSummary } from '../../contract/facts.ts';
import { NO_COOKIE, SimulatedDomain } from './domain.ts';
import type { SimulatedFleet } from './fleet.ts';
import { guestXml, LOCAL_DISK } from './guest-xml.ts';
import { type CallName, type Copy, type Guest, imageOf, refusal, type SimulatedHost, silence } from './host.ts';
import type { ImageFile } from './images.ts';
import type { SimulatedProcess } from './process.ts';

const MIGRATION_PORT = 49_152;
/** One call to a daemon on the same network. */
const CALL_MS = 1;
/** Starting the guest's CPUs on the destination. */
const FINISH_MS = 20;
/** Both ends send keepalives every 5 s and give the other up when five went unanswered. */
const KEEPALIVE_MS = { interval: 5_000, least: 25_000 };

/**
 * SIMULATED: a client's connection to one host's daemon, and what the daemon does when it ends. It has two ends, and while the
 * network between them is cut, each finds out by itself that the other is gone.
 */
export class SimulatedConnection implements HypervisorConnection {
  readonly uri: string;
  readonly closed: Promise<void>;
  readonly fleet: SimulatedFleet;
  readonly host: SimulatedHost;
  readonly #clientHostId: string;
  readonly #process: SimulatedProcess | undefined;
  readonly #ended = Promise.withResolvers<void>();
  readonly #endClient: () => void;
  readonly #endDaemon: () => void;
  readonly #jobs = new Set<() => void>();
  /** Ends each call whose answer is still to come. */
  readonly #unanswered = new Set<() => void>();
  #clientOpen = true;
  #daemonOpen = true;

  constructor(
    fleet: SimulatedFleet,
    { host, uri, clientHostId, process }: ConnectionEnds & { host: SimulatedHost; uri: string },
  ) {
    this.fleet = fleet;
    this.host = host;
    this.uri = uri;
    this.#clientHostId = clientHostId;
    this.#process = process;
    this.closed = this.#ended.promise;
    const silenceMs = () => KEEPALIVE_MS.least + fleet.random() * KEEPALIVE_MS.interval;
    const silent = (gone: () => void) => fleet.network.onSilence(clientHostId, host.spec.hostId, silenceMs, gone);
    const forgetClient = silent(() => this.#clientGone());
    const forgetSilence = silent(() => this.#daemonGone());
    const forgetSevering = host.connected(() => {
      this.#daemonGone();
      this.#clientGone();
    });
    // A process that stands still answers no keepalive either.
    const forgetStalls = process?.onStall(() => {
      fleet.clock.timer(silenceMs(), () => {
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

  async close(): Promise<void> {
    if (!this.#clientOpen) return;
    this.#clientGone();
    // The daemon hears of it at once, unless the network is in the way.
    if (this.fleet.network.isUp(this.#clientHostId, this.host.spec.hostId)) this.#daemonGone();
    else void this.#reach()?.then(() => this.#daemonGone());
  }

  versions(): Promise<Versions> {
    return this.call('find', async () => ({ libvirt: this.fleet.libvirtVersion, qemu: 10_000_002 }));
  }

  hostUuid(): Promise<string> {
    return this.call('find', async () => this.host.uuid);
  }

  freeMemoryMiB(): Promise<number> {
    return this.call('find', async () => {
      const used = [...this.host.copies.values()]
        .filter(({ state }) => state !== 'shutoff')
        .reduce((sum, { guest }) => sum + guest.memoryMiB, 0);
      return this.host.spec.memoryMiB - used;
    });
  }

  networkActive(): Promise<boolean> {
    return this.call('find', async () => true);
  }

  compareCpu(): Promise<'identical'> {
    return this.call('find', async () => 'identical' as const);
  }

  domainCapabilities(): Promise<string> {
    return this.call('find', async () => '<domainCapabilities/>');
  }

  list(): Promise<DomainSummary[]> {
    return this.call('find', async () =>
      [...this.host.copies.values()].map(({ guest, state }) => ({
        name: guest.name,
        uuid: guest.uuid,
        state,
        memoryMiB: guest.memoryMiB,
      })),
    );
  }

  find(vm: string): Promise<Domain | undefined> {
    return this.call('find', async () => {
      const copy = this.host.copies.get(vm);
      return copy && new SimulatedDomain(this, copy.guest.name, copy.guest.uuid);
    });
  }

  prepare({
    name,
    xml,
    resume,
    migratedDisks,
  }: MigrationOptions & HandshakeInput): Promise<{ cookie: Buffer; uri: string }> {
    return this.call('prepare', async () => {
      const here = this.host.copies.get(name);
      if (resume === true) {
        if (!this.fleet.resumes) {
          this.fleet.onDaemonCrash(this.host.spec.hostId);
          this.host.restartDaemon();
          throw silence('the daemon has ended');
        }
        if (here?.state !== 'postcopy-failed') throw refusal('QEMU reports migration is still running');
        return { cookie: NO_COOKIE, uri: `tcp:${this.host.spec.address}:${MIGRATION_PORT}` };
      }
      if (here !== undefined && here.state !== 'shutoff') throw refusal(`domain '${name}' is already active`);
      const sent = this.fleet.hosts().find(({ copies }) => {
        const copy = copies.get(name);
        return copy !== undefined && guestXml(copy.guest) === xml;
      });
      if (sent === undefined) throw refusal('the XML is of no simulated guest');
      const { guest } = sent.mustHave(name);
      const image = this.#openImage(guest, migratedDisks);
      const incoming = { state: 'incoming', detail: 'paused (migrating)' } as const;
      const copy: Copy = { guest, ...incoming, preparedBy: this, runningSince: 0, ...(image && { image }) };
      this.host.put(copy);
      // The connection went while the call was on its way to the daemon.
      if (!this.#daemonOpen) this.host.remove(name);
      return { cookie: NO_COOKIE, uri: `tcp:${this.host.spec.address}:${MIGRATION_PORT}` };
    });
  }

  finish({ name, cancelled }: MigrationOptions & { cancelled: boolean }): Promise<{ cookie: Buffer }> {
    return this.call('finish', async () => {
      const copy = this.host.copies.get(name);
      const half = copy?.state === 'postcopy-running' || copy?.state === 'postcopy-failed';
      if (copy === undefined || (copy.state !== 'incoming' && !half)) {
        throw refusal(`migration of domain ${name} is not in progress`);
      }
      if (cancelled) {
        this.host.remove(name);
        throw refusal('migration successfully aborted', 76);
      }
      if (copy.postCopy !== undefined) {
        await copy.postCopy.finish();
        return { cookie: NO_COOKIE };
      }
      // From here on the daemon goes through with it, whatever becomes of its client.
      delete copy.preparedBy;
      await this.fleet.clock.sleep(FINISH_MS);
      if (this.host.copies.get(name) !== copy) throw refusal('the QEMU of the incoming copy has died');
      const running = this.host.run(copy.guest, 'running (migrated)', copy.image);
      if (copy.lastJob !== undefined) running.lastJob = copy.lastJob;
      if (copy.guest.unannounced)
        this.host.change(Object.assign(running, { unheard: true }), 'running', running.detail);
      return { cookie: NO_COOKIE };
    });
  }

  /** The image that a disk is copied to has to be there. */
  #openImage(guest: Guest, migratedDisks: readonly string[] = []): ImageFile | undefined {
    if (guest.disk === undefined) return undefined;
    const image = this.host.images.files.get(imageOf(guest));
    if (!migratedDisks.includes(LOCAL_DISK) || image === undefined) {
      throw refusal(`Cannot access storage file '${imageOf(guest)}'`, 38);
    }
    return image;
  }

  /** One call: it takes its time, a fault may come in its way, and it fails when the connection ends before its answer. */
  call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    const exchange = () => this.#exchange(name, action);
    return this.#process === undefined ? exchange() : this.#process.call(name, exchange);
  }

  #exchange<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    if (!this.#clientOpen) return Promise.reject(silence(`the connection to ${this.uri} is closed`));
    const answer = this.host.through(name, async () => {
      await this.fleet.clock.sleep(CALL_MS);
      const reached = this.#reach();
      if (reached !== undefined) await reached;
      if (!this.#daemonOpen) throw silence(`the connection to ${this.uri} is closed`);
      // An answer to a client that is gone goes nowhere, which is what the race below says.
      try {
        return await (this.#process === undefined ? action() : this.#process.atDaemon(name, action));
      } finally {
        const answered = this.#reach();
        if (answered !== undefined) await answered;
      }
    });
    return new Promise((resolve, reject) => {
      const lost = () => reject(silence(`the connection to ${this.uri} was lost`));
      this.#unanswered.add(lost);
      // A fault may have ended the connection as the call was made.
      if (!this.#clientOpen) lost();
      answer.then(resolve, reject).finally(() => this.#unanswered.delete(lost));
    });
  }

  /** Undefined where nothing is in the way: then there is nothing to wait for. */
  #reach(): Promise<void> | undefined {
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

  /** What libvirt does when a client goes: whatever it had not finished falls to a safe state. */
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

  /** Ties an outgoing job to this connection. */
  owns(copy: Copy): void {
    const drop = () => {
      // A Confirm under way is gone through with.
      if (copy.confirming) return;
      if (copy.postCopy !== undefined) {
        copy.postCopy.leave();
        return;
      }
      // After Perform only Confirm could say how it went: the copy stays paused, without a job.
      if (!copy.performed) copy.outgoing?.end(silence(`the client's connection was lost`));
      delete copy.outgoing;
    };
    this.#jobs.add(drop);
    if (!this.#daemonOpen) drop();
  }
}

/** Whose connection it is. */
export interface ConnectionEnds {
  clientHostId: string;
  process: SimulatedProcess | undefined;
}
