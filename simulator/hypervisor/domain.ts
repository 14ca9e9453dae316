import type { Domain, JobStats, MigrationOptions } from '../../agent/hypervisor.ts';
import { MIB } from '../../common/units.ts';
import type { Copy } from './copy.ts';
import { CopyJob, CPU_USE, NO_MEMORY_YET } from './copy-job.ts';
import { connectionError, libvirtError } from './errors.ts';
import { guestXml, LOCAL_DISK, macOf } from './guest-xml.ts';
import type { CallName } from './host.ts';
import { PostCopy } from './post-copy.ts';
import type { Session } from './session.ts';
import { CONFIRM_MS, STREAM_TIMEOUT_MS } from './timings.ts';

export const NO_COOKIE = Buffer.alloc(0);

/** SIMULATED: a domain on one host, through one session. */
export class SimulatedDomain implements Domain {
  readonly name: string;
  readonly uuid: string;
  readonly #session: Session;

  constructor(session: Session, name: string, uuid: string) {
    this.#session = session;
    this.name = name;
    this.uuid = uuid;
  }

  async state() {
    return this.#call(this.#queryName('find'), async () => {
      const copy = this.#session.host.copies.get(this.name);
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
    return this.#with(this.#queryName('job'), async (copy) => {
      const receives =
        copy.state === 'incoming' ||
        copy.state === 'postcopy-running' ||
        (copy.state === 'postcopy-failed' && copy.outgoing === undefined);
      if (!receives) return copy.state === 'shutoff' ? undefined : copy.outgoing?.stats();
      return { operation: 'migration-in', elapsedMs: 0, ...NO_MEMORY_YET };
    });
  }

  lastJob() {
    return this.#with('find', async ({ lastJob }) => lastJob);
  }

  cpuTimeNs() {
    return this.#with('find', async ({ state, runningSince, guest }) => {
      const ran = state === 'running' ? this.#session.fleet.clock.now() - runningSince : 0;
      return BigInt(Math.round(ran * guest.vcpus * CPU_USE * 1_000_000));
    });
  }

  residentBytes() {
    return this.#with('find', async ({ guest }) => guest.memoryMiB * MIB);
  }

  startDirtyRateCalc(seconds: number) {
    return this.#with('find', async (copy) => {
      if (copy.state !== 'running') throw libvirtError('domain is not running');
      if (this.#isMeasuring(copy)) throw libvirtError('still in measuring, try again later');
      copy.dirtyRateCalc = { seconds, endsAt: this.#session.fleet.clock.now() + seconds * 1_000 };
    });
  }

  dirtyRate() {
    return this.#with('find', async (copy) => {
      if (copy.dirtyRateCalc === undefined) return undefined;
      if (this.#isMeasuring(copy)) return 'measuring' as const;
      const { seconds } = copy.dirtyRateCalc;
      const { dirtyMiBps, workingSetMiB } = copy.guest;
      return { bytesPerSecond: (Math.min(workingSetMiB, dirtyMiBps * seconds) / seconds) * MIB, seconds };
    });
  }

  #isMeasuring({ dirtyRateCalc }: Copy): boolean {
    return dirtyRateCalc !== undefined && this.#session.fleet.clock.now() < dirtyRateCalc.endsAt;
  }

  /** No guest has an agent; hosts have talked to every guest. */
  guestAddresses(source: 'guest-agent' | 'arp') {
    return this.#with('find', async ({ guest }) => {
      if (source === 'guest-agent') throw libvirtError('QEMU guest agent is not configured');
      return guest.address === undefined ? [] : [{ mac: macOf(guest), addresses: [guest.address] }];
    });
  }

  announce() {
    return this.#with('find', async (copy) => {
      delete copy.unheard;
      this.#session.host.change(copy, copy.state, copy.detail);
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
      if (copy.postCopy !== undefined) throw libvirtError('cannot acquire state change lock');
      this.#session.host.change(copy, 'running', 'running (unpaused)');
    });
  }

  destroy() {
    return this.#with('destroy', async (copy) => {
      this.#session.host.end(copy, 'shut off (destroyed)');
    });
  }

  undefine() {
    return this.#with('destroy', async () => this.#session.host.remove(this.name));
  }

  begin({ resume, migratedDisks = [] }: MigrationOptions) {
    return this.#with('begin', async (copy) => {
      if (resume === true) {
        if (copy.state !== 'postcopy-failed') throw libvirtError('the domain is not in a failed post-copy');
        if (copy.postCopy?.broken !== true) throw libvirtError('QEMU reports migration is still running');
        return { cookie: NO_COOKIE, xml: guestXml(copy.guest) };
      }
      if (copy.state !== 'running') throw libvirtError('domain is not running');
      if (copy.outgoing !== undefined) throw libvirtError('another migration job is already running for the domain');
      if (copy.guest.disk !== undefined && !migratedDisks.includes(LOCAL_DISK)) {
        throw libvirtError('Unsafe migration: Migration without shared storage is unsafe', 81);
      }
      const { clock } = this.#session.fleet;
      copy.outgoing = new CopyJob(clock, copy.guest, this.#session.host.spec.linkMiBps);
      copy.performed = false;
      this.#session.owns(copy);
      return { cookie: NO_COOKIE, xml: guestXml(copy.guest) };
    });
  }

  perform({ uri, resume, throttle, diskMiBps = 0 }: MigrationOptions & { uri: string }) {
    return this.#with('perform', async (copy) => {
      const { fleet } = this.#session;
      if (resume === true) {
        const half = fleet.at(/^tcp:(.*):\d+$/.exec(uri)?.[1] ?? '')?.copies.get(this.name);
        // Its QEMU may have died since Begin.
        if (copy.state !== 'postcopy-failed') throw libvirtError('domain is not running');
        if (copy.postCopy?.broken !== true || half?.postCopy !== copy.postCopy || half.state !== 'postcopy-failed') {
          throw libvirtError('unable to connect to the destination');
        }
        copy.postCopy.resume();
        this.#session.owns(copy);
        return { cookie: NO_COOKIE };
      }
      mustHaveJob(copy);
      const target = fleet.at(/^tcp:(.*):\d+$/.exec(uri)?.[1] ?? '');
      // Statistics and time count from here; Begin's job is only a lock.
      const { disk } = copy.guest;
      const job = new CopyJob(fleet.clock, copy.guest, this.#session.host.spec.linkMiBps, {
        ...(throttle && { throttle }),
        ...(disk && { disk: { bytes: disk.allocatedMiB * MIB, limitMiBps: diskMiBps } }),
      });
      copy.outgoing = job;
      const here = this.#session.host;
      const broken = () => job.end(libvirtError('unable to write to the migration stream: Broken pipe'));
      const received = target?.copies.get(this.name);
      if (target === undefined || received?.state !== 'incoming') {
        delete copy.outgoing;
        throw libvirtError('unable to connect to the destination');
      }
      received.stream = broken;
      const ends = [here.spec.hostId, target.spec.hostId] as const;
      job.stall(!fleet.network.isUp(...ends));
      const forget = [
        target.connected(broken),
        fleet.network.onChange(...ends, (up) => job.stall(!up)),
        fleet.network.onSilence(...ends, () => STREAM_TIMEOUT_MS, broken),
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
      if (!copy.performed) throw libvirtError('no migration is waiting to be confirmed');
      const { host } = this.#session;
      const { restarts } = host;
      if (copy.postCopy !== undefined) {
        if (cancelled) return copy.postCopy.leave();
        await copy.postCopy.confirmed();
      }
      copy.confirming = true;
      await this.#session.fleet.clock.sleep(CONFIRM_MS);
      delete copy.confirming;
      delete copy.outgoing;
      // A new daemon knows of no job.
      if (host.restarts !== restarts) throw connectionError('the daemon was restarted');
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
      if (copy.postCopy !== undefined || copy.performed) throw libvirtError('the domain is not being migrated');
      mustHaveJob(copy).startPostCopy();
    });
  }

  abortJob() {
    return this.#with('abortJob', async (copy) => {
      if (copy.postCopy !== undefined) throw libvirtError('cannot abort migration in post-copy mode');
      mustHaveJob(copy).end(libvirtError('operation aborted: migration out: canceled by client'));
    });
  }

  #call<T>(name: CallName, action: () => Promise<T>): Promise<T> {
    return this.#session.call(name, action);
  }

  /** The name under which faults count a query: queries of a post-copy's half are rare, and have a name of their own. */
  #queryName(name: CallName): CallName {
    return this.#session.host.copies.get(this.name)?.postCopy === undefined ? name : 'rest';
  }

  #with<T>(name: CallName, action: (copy: Copy) => Promise<T>): Promise<T> {
    return this.#call(name, async () => action(this.#session.host.mustHave(this.name)));
  }
}

function mustHaveJob({ outgoing }: Copy): CopyJob {
  if (outgoing === undefined) throw libvirtError('no job is active on the domain');
  return outgoing;
}
