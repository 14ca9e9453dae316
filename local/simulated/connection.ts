import type {
  Domain,
  HandshakeInput,
  JobStats,
  MigrationOptions,
  MigrationTarget,
  Versions,
} from '../../agent/hypervisor.ts';
import type { DomainSummary } from '../../contract/facts.ts';
import { MIB } from '../../contract/units.ts';
import { CopyJob, CPU_USE } from './copy-job.ts';
import type { SimulatedFleet } from './fleet.ts';
import { guestXml, LOCAL_DISK, macOf } from './guest-xml.ts';
import { type CallName, type Copy, type Guest, imageOf, refusal, type SimulatedHost, silence } from './host.ts';
import type { ImageFile } from './images.ts';
import { PostCopy } from './post-copy.ts';
import type { SimulatedProcess } from './process.ts';

const MIGRATION_PORT = 49_152;
const NO_COOKIE = Buffer.alloc(0);
/** One call to a daemon on the same network. */
const CALL_MS = 1;
/** Starting the guest's CPUs on the destination. */
const FINISH_MS = 20;
/** Taking the source's QEMU down. */
const CONFIRM_MS = 1_300;
/** A stream that nothing passes through is given up with libvirt's keepalive. */
const STREAM_GIVES_UP_MS = 30_000;
/** Both ends send keepalives every 5 s and give the other up when five went unanswered. */
const KEEPALIVE_MS = { interval: 5_000, least: 25_000 };

/**
 * SIMULATED: a client's connection to one host's daemon, and what the daemon does when it ends. It has two ends, and while the
 * network between them is cut, each finds out by itself that the other is gone.
 */
export class SimulatedConnection implements MigrationTarget {
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
    copiedDisks,
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
      const image = this.#openImage(guest, copiedDisks);
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
  #openImage(guest: Guest, copiedDisks: readonly string[] = []): ImageFile | undefined {
    if (guest.disk === undefined) return undefined;
    const image = this.host.images.files.get(imageOf(guest));
    if (!copiedDisks.includes(LOCAL_DISK) || image === undefined) {
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
    return this.#call(this.#look('find'), async () => {
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
    return this.#with(this.#look('job'), async (copy) => {
      const receives =
        copy.state === 'incoming' ||
        copy.state === 'postcopy-running' ||
        (copy.state === 'postcopy-failed' && copy.outgoing === undefined);
      if (!receives) return copy.state === 'shutoff' ? undefined : copy.outgoing?.stats();
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
      return BigInt(Math.round(ran * guest.vcpus * CPU_USE * 1_000_000));
    });
  }

  residentBytes() {
    return this.#with('find', async ({ guest }) => guest.memoryMiB * MIB);
  }

  startDirtyRateCalc(seconds: number) {
    return this.#with('find', async (copy) => {
      if (copy.state !== 'running') throw refusal('domain is not running');
      copy.writingLook = { seconds, endsAt: this.#connection.fleet.clock.now() + seconds * 1_000 };
    });
  }

  dirtyBytesPerSecond() {
    return this.#with('find', async ({ writingLook, guest: { dirtyMiBps, workingSetMiB } }) => {
      if (writingLook === undefined || this.#connection.fleet.clock.now() < writingLook.endsAt) return undefined;
      const { seconds } = writingLook;
      return (Math.min(workingSetMiB, dirtyMiBps * seconds) / seconds) * MIB;
    });
  }

  /** No guest has an agent; hosts have talked to every guest. */
  guestAddresses(source: 'guest-agent' | 'arp') {
    return this.#with('find', async ({ guest }) => {
      if (source === 'guest-agent') throw refusal('QEMU guest agent is not configured');
      return guest.address === undefined ? [] : [{ mac: macOf(guest), addresses: [guest.address] }];
    });
  }

  announce() {
    return this.#with('find', async (copy) => {
      delete copy.unheard;
      this.#connection.host.change(copy, copy.state, copy.detail);
    });
  }

  diskErrors() {
    return this.#with('find', async () => [] as string[]);
  }

  disks() {
    return this.#with('find', async ({ guest }) => (guest.disk === undefined ? ['vda'] : ['vda', LOCAL_DISK]));
  }

  /** The other disk is not in a file of the host's. */
  diskSizes() {
    return this.#with('find', async ({ guest: { disk } }) => {
      if (disk === undefined) return [];
      const allocatedBytes = disk.allocatedMiB * MIB;
      return [{ target: LOCAL_DISK, capacityBytes: 4 * allocatedBytes, allocatedBytes, writtenBytes: 0 }];
    });
  }

  resume() {
    return this.#with('resume', async (copy) => {
      if (copy.postCopy !== undefined) throw refusal('cannot acquire state change lock');
      this.#connection.host.change(copy, 'running', 'running (unpaused)');
    });
  }

  destroy() {
    return this.#with('destroy', async (copy) => {
      this.#connection.host.end(copy, 'shut off (destroyed)');
    });
  }

  undefine() {
    return this.#with('destroy', async () => this.#connection.host.remove(this.name));
  }

  begin({ resume, copiedDisks = [] }: MigrationOptions) {
    return this.#with('begin', async (copy) => {
      if (resume === true) {
        if (copy.state !== 'postcopy-failed') throw refusal('the domain is not in a failed post-copy');
        if (copy.postCopy?.broken !== true) throw refusal('QEMU reports migration is still running');
        return { cookie: NO_COOKIE, xml: guestXml(copy.guest) };
      }
      if (copy.state !== 'running') throw refusal('domain is not running');
      if (copy.outgoing !== undefined) throw refusal('another migration job is already running for the domain');
      if (copy.guest.disk !== undefined && !copiedDisks.includes(LOCAL_DISK)) {
        throw refusal('Unsafe migration: Migration without shared storage is unsafe', 81);
      }
      const { clock } = this.#connection.fleet;
      copy.outgoing = new CopyJob(clock, copy.guest, this.#connection.host.spec.linkMiBps);
      copy.performed = false;
      this.#connection.owns(copy);
      return { cookie: NO_COOKIE, xml: guestXml(copy.guest) };
    });
  }

  perform({ uri, resume, throttle, diskMiBps = 0 }: MigrationOptions & { uri: string }) {
    return this.#with('perform', async (copy) => {
      const { fleet } = this.#connection;
      if (resume === true) {
        const half = fleet.at(/^tcp:(.*):\d+$/.exec(uri)?.[1] ?? '')?.copies.get(this.name);
        // Its QEMU may have died since Begin.
        if (copy.state !== 'postcopy-failed') throw refusal('domain is not running');
        if (copy.postCopy?.broken !== true || half?.postCopy !== copy.postCopy || half.state !== 'postcopy-failed') {
          throw refusal('unable to connect to the destination');
        }
        copy.postCopy.resume();
        this.#connection.owns(copy);
        return { cookie: NO_COOKIE };
      }
      mustHaveJob(copy);
      const target = fleet.at(/^tcp:(.*):\d+$/.exec(uri)?.[1] ?? '');
      // Statistics and time count from here; Begin's job is only a lock.
      const { disk } = copy.guest;
      const job = new CopyJob(fleet.clock, copy.guest, this.#connection.host.spec.linkMiBps, {
        ...(throttle && { throttle }),
        ...(disk && { disk: { bytes: disk.allocatedMiB * MIB, limitMiBps: diskMiBps } }),
      });
      copy.outgoing = job;
      const here = this.#connection.host;
      const broken = () => job.end(refusal('unable to write to the migration stream: Broken pipe'));
      const received = target?.copies.get(this.name);
      if (target === undefined || received?.state !== 'incoming') {
        delete copy.outgoing;
        throw refusal('unable to connect to the destination');
      }
      received.stream = broken;
      const ends = [here.spec.hostId, target.spec.hostId] as const;
      job.stall(!fleet.network.isUp(...ends));
      const forget = [
        target.connected(broken),
        fleet.network.onChange(...ends, (up) => job.stall(!up)),
        fleet.network.onSilence(...ends, () => STREAM_GIVES_UP_MS, broken),
      ];
      try {
        if ((await job.run()) === 'post-copy') {
          copy.performed = true;
          new PostCopy(fleet, { host: here, copy }, { host: target, copy: received }, job.rest);
          return { cookie: NO_COOKIE };
        }
        // The mirror of its disk has followed the guest until now.
        if (received.image !== undefined) Object.assign(received.image, copy.image);
        // A QEMU that died has ended its job.
        here.change(copy, 'migrating-paused', 'paused (migrating)');
        copy.performed = true;
        received.lastJob = job.stats();
        return { cookie: NO_COOKIE };
      } catch (error) {
        delete copy.outgoing;
        if (copy.state === 'running') here.change(copy, 'running', 'running (migration canceled)');
        throw error;
      } finally {
        for (const end of forget) end();
        if (copy.postCopy === undefined) delete received.stream;
      }
    });
  }

  confirm({ cancelled }: { cancelled: boolean }) {
    return this.#with('confirm', async (copy) => {
      if (!copy.performed) throw refusal('no migration is waiting to be confirmed');
      const { host } = this.#connection;
      const { restarts } = host;
      if (copy.postCopy !== undefined) {
        if (cancelled) return copy.postCopy.leave();
        await copy.postCopy.confirmed();
      }
      copy.confirming = true;
      await this.#connection.fleet.clock.sleep(CONFIRM_MS);
      delete copy.confirming;
      delete copy.outgoing;
      // A new daemon knows of no job.
      if (host.restarts !== restarts) throw silence('the daemon was restarted');
      copy.performed = false;
      if (!cancelled) host.remove(this.name);
      else if (copy.state === 'migrating-paused') host.change(copy, 'running', 'running (migration canceled)');
    });
  }

  setMaxDowntimeMs(ms: number) {
    return this.#with('job', async (copy) => mustHaveJob(copy).limitDowntime(ms));
  }

  setMaxSpeedMiBps(mibps: number) {
    return this.#with('job', async (copy) => mustHaveJob(copy).limitSpeed(mibps));
  }

  startPostCopy(): Promise<void> {
    return this.#with('startPostCopy', async (copy) => {
      if (copy.postCopy !== undefined || copy.performed) throw refusal('the domain is not being migrated');
      mustHaveJob(copy).startPostCopy();
    });
  }

  abortJob() {
    return this.#with('abortJob', async (copy) => {
      if (copy.postCopy !== undefined) throw refusal('cannot abort migration in post-copy mode');
      mustHaveJob(copy).end(refusal('operation aborted: migration out: canceled by client'));
    });
  }

  #call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    return this.#connection.call(name, action);
  }

  /** What a look counts as: most are at whole VMs, and a fault that is for a post-copy would seldom find one. */
  #look(name: CallName): CallName {
    return this.#connection.host.copies.get(this.name)?.postCopy === undefined ? name : 'rest';
  }

  #with<T>(name: CallName, action: (copy: Copy) => Promise<T>): Promise<T> {
    return this.#call(name, async () => action(this.#connection.host.mustHave(this.name)));
  }
}

function mustHaveJob({ outgoing }: Copy): CopyJob {
  if (outgoing === undefined) throw refusal('no job is active on the domain');
  return outgoing;
}
