import type {
  Domain,
  HandshakeInput,
  JobStats,
  MigrationOptions,
  MigrationTarget,
  Versions,
} from '../../agent/hypervisor.ts';
import type { DomainSummary } from '../../contract/facts.ts';
import { CopyJob } from './copy-job.ts';
import type { SimulatedFleet } from './fleet.ts';
import { guestXml } from './guest-xml.ts';
import { type CallName, type Copy, refusal, type SimulatedHost, silence } from './host.ts';

const MIGRATION_PORT = 49_152;
const NO_COOKIE = Buffer.alloc(0);
/** One call to a daemon on the same network. */
const CALL_MS = 1;
/** Taking the source's QEMU down. */
const CONFIRM_MS = 1_300;

/** SIMULATED: a client's connection to one host's daemon, and what the daemon does when it ends. */
export class SimulatedConnection implements MigrationTarget {
  readonly uri: string;
  readonly closed: Promise<void>;
  readonly fleet: SimulatedFleet;
  readonly host: SimulatedHost;
  readonly #ended = Promise.withResolvers<void>();
  readonly #disconnect: () => void;
  #open = true;

  constructor(fleet: SimulatedFleet, host: SimulatedHost, uri: string) {
    this.fleet = fleet;
    this.host = host;
    this.uri = uri;
    this.closed = this.#ended.promise;
    this.#disconnect = host.connected(() => this.#end());
  }

  async close(): Promise<void> {
    this.#end();
  }

  versions(): Promise<Versions> {
    return this.call('find', async () => ({ libvirt: 11_003_000, qemu: 10_000_002 }));
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

  prepare({ name, xml }: MigrationOptions & HandshakeInput): Promise<{ cookie: Buffer; uri: string }> {
    return this.call('prepare', async () => {
      const here = this.host.copies.get(name);
      if (here !== undefined && here.state !== 'shutoff') throw refusal(`domain '${name}' is already active`);
      const sent = this.fleet.hosts().find(({ copies }) => {
        const copy = copies.get(name);
        return copy !== undefined && guestXml(copy.guest) === xml;
      });
      if (sent === undefined) throw refusal('the XML is of no simulated guest');
      const { guest } = sent.mustHave(name);
      const copy: Copy = { guest, state: 'incoming', detail: 'paused (migrating)', preparedBy: this, runningSince: 0 };
      this.host.copies.set(name, copy);
      return { cookie: NO_COOKIE, uri: `tcp:${this.host.spec.address}:${MIGRATION_PORT}` };
    });
  }

  finish({ name, cancelled }: MigrationOptions & { cancelled: boolean }): Promise<{ cookie: Buffer }> {
    return this.call('finish', async () => {
      const copy = this.host.copies.get(name);
      if (copy?.state !== 'incoming') throw refusal(`migration of domain ${name} is not in progress`);
      if (cancelled) {
        this.host.copies.delete(name);
        throw refusal('migration successfully aborted', 76);
      }
      const running = this.host.run(copy.guest, 'running (migrated)');
      if (copy.lastJob !== undefined) running.lastJob = copy.lastJob;
      return { cookie: NO_COOKIE };
    });
  }

  /** One call: it takes its time, a fault may come in its way, and it fails when the connection ends before its answer. */
  async call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    const answer = this.host.through(name, async () => {
      await this.fleet.clock.sleep(CALL_MS);
      this.mustBeOpen();
      return action();
    });
    answer.catch(() => {});
    const lost = this.closed.then(() => {
      throw silence(`the connection to ${this.uri} was lost`);
    });
    lost.catch(() => {});
    return Promise.race([answer, lost]);
  }

  mustBeOpen(): void {
    if (!this.#open) throw silence(`the connection to ${this.uri} is closed`);
  }

  /** What libvirt does when a client goes: whatever it had not finished falls to a safe state. */
  #end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#disconnect();
    this.#ended.resolve();
    for (const [name, copy] of this.host.copies) {
      if (copy.preparedBy === this) this.host.copies.delete(name);
    }
    for (const drop of this.#jobs) drop();
  }
  readonly #jobs = new Set<() => void>();

  /** Ties an outgoing job to this connection. */
  owns(copy: Copy): void {
    this.#jobs.add(() => {
      // After Perform only Confirm could say how it went: the copy stays paused, without a job.
      if (!copy.performed) copy.outgoing?.end(silence(`the client's connection was lost`));
      delete copy.outgoing;
    });
  }
}

/** SIMULATED: a domain on one host, through one connection. */
class SimulatedDomain implements Domain {
  readonly name: string;
  readonly uuid: string;
  readonly #connection: SimulatedConnection;

  constructor(connection: SimulatedConnection, name: string, uuid: string) {
    this.#connection = connection;
    this.name = name;
    this.uuid = uuid;
  }

  async state() {
    return this.#call('find', async () => {
      const copy = this.#connection.host.copies.get(this.name);
      return copy === undefined
        ? { state: 'absent' as const, detail: 'no such domain' }
        : { state: copy.state, detail: copy.detail };
    });
  }

  persistent() {
    return this.#with('find', async ({ guest }) => guest.persistent);
  }

  xml() {
    return this.#with('find', async ({ guest }) => guestXml(guest));
  }

  job(): Promise<JobStats | undefined> {
    return this.#with('job', async (copy) => {
      if (copy.state !== 'incoming') return copy.outgoing?.stats();
      return {
        operation: 'migration-in',
        elapsedMs: 0,
        bytesTotal: 0,
        bytesProcessed: 0,
        bytesRemaining: 0,
        bytesPerSecond: 0,
        dirtyBytesPerSecond: 0,
        iteration: 0,
      };
    });
  }

  lastJob() {
    return this.#with('find', async ({ lastJob }) => lastJob);
  }

  cpuTimeNs() {
    return this.#with('find', async ({ state, runningSince, guest }) => {
      const ran = state === 'running' ? this.#connection.fleet.clock.now() - runningSince : 0;
      return BigInt(Math.round(ran * guest.vcpus)) * 100_000n;
    });
  }

  diskErrors() {
    return this.#with('find', async () => [] as string[]);
  }

  disks() {
    return this.#with('find', async () => ['vda']);
  }

  resume() {
    return this.#with('resume', async (copy) => {
      copy.state = 'running';
      copy.detail = 'running (unpaused)';
    });
  }

  destroy() {
    return this.#with('destroy', async (copy) => {
      copy.outgoing?.end(refusal('domain is not running'));
      if (!copy.guest.persistent || copy.state === 'incoming') this.#connection.host.copies.delete(this.name);
      copy.state = 'shutoff';
      copy.detail = 'shut off (destroyed)';
    });
  }

  undefine() {
    return this.#with('destroy', async () => {
      this.#connection.host.copies.delete(this.name);
    });
  }

  begin() {
    return this.#with('begin', async (copy) => {
      if (copy.state !== 'running') throw refusal('domain is not running');
      if (copy.outgoing !== undefined) throw refusal('another migration job is already running for the domain');
      const { clock } = this.#connection.fleet;
      copy.outgoing = new CopyJob(clock, copy.guest, this.#connection.host.spec.linkMiBps);
      copy.performed = false;
      this.#connection.owns(copy);
      return { cookie: NO_COOKIE, xml: guestXml(copy.guest) };
    });
  }

  perform({ uri }: { uri: string }) {
    return this.#with('perform', async (copy) => {
      const { fleet } = this.#connection;
      const target = fleet.at(/^tcp:(.*):\d+$/.exec(uri)?.[1] ?? '');
      // Statistics and time count from here; Begin's job is only a lock.
      const job = new CopyJob(fleet.clock, copy.guest, this.#connection.host.spec.linkMiBps);
      copy.outgoing = job;
      const forget = target?.connected(() => job.end(refusal('unable to write to the migration stream: Broken pipe')));
      try {
        if (target?.copies.get(this.name)?.state !== 'incoming') throw refusal('unable to connect to the destination');
        await job.run();
        copy.state = 'migrating-paused';
        copy.detail = 'paused (migrating)';
        copy.performed = true;
        const received = target.copies.get(this.name);
        if (received !== undefined) received.lastJob = job.stats();
        return { cookie: NO_COOKIE };
      } catch (error) {
        delete copy.outgoing;
        copy.detail = 'running (migration canceled)';
        throw error;
      } finally {
        forget?.();
      }
    });
  }

  confirm({ cancelled }: { cancelled: boolean }) {
    return this.#with('confirm', async (copy) => {
      if (!copy.performed) throw refusal('no migration is waiting to be confirmed');
      await this.#connection.fleet.clock.sleep(CONFIRM_MS);
      this.#connection.mustBeOpen();
      delete copy.outgoing;
      copy.performed = false;
      if (cancelled) {
        copy.state = 'running';
        copy.detail = 'running (migration canceled)';
      } else {
        this.#connection.host.copies.delete(this.name);
      }
    });
  }

  setMaxDowntimeMs(ms: number) {
    return this.#with('job', async (copy) => mustHaveJob(copy).limitDowntime(ms));
  }

  setMaxSpeedMiBps(mibps: number) {
    return this.#with('job', async (copy) => mustHaveJob(copy).limitSpeed(mibps));
  }

  abortJob() {
    return this.#with('abortJob', async (copy) =>
      mustHaveJob(copy).end(refusal('operation aborted: migration out: canceled by client')),
    );
  }

  #call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    return this.#connection.call(name, action);
  }

  #with<T>(name: CallName, action: (copy: Copy) => Promise<T>): Promise<T> {
    return this.#call(name, async () => action(this.#connection.host.mustHave(this.name)));
  }
}

function mustHaveJob({ outgoing }: Copy): CopyJob {
  if (outgoing === undefined) throw refusal('no job is active on the domain');
  return outgoing;
}
