import type {
  Domain,
  HandshakeInput,
  HypervisorConnection,
  MigrationOptions,
  Versions,
} from '../../agent/hypervisor.ts';
import type { DomainSummary } from '../../contract/facts.ts';
import { type Copy, type Guest, imageOf } from './copy.ts';
import { NO_COOKIE, SimulatedDomain } from './domain.ts';
import { connectionError, libvirtError } from './errors.ts';
import type { SimulatedFleet } from './fleet.ts';
import { guestXml, LOCAL_DISK } from './guest-xml.ts';
import type { SimulatedHost } from './host.ts';
import type { ImageFile } from './images.ts';
import { type ClientProcess, Session } from './session.ts';
import { FINISH_MS } from './timings.ts';

const MIGRATION_PORT = 49_152;
const CONNECT_TIMEOUT_MS = 5_000;

/** SIMULATED: connects from one host to a libvirt URI; a URI without a host name is the host's own. */
export async function connect(
  fleet: SimulatedFleet,
  fromHostId: string,
  uri: string,
  process?: ClientProcess,
): Promise<HypervisorConnection> {
  const local = uri.includes(':///');
  const host = local ? fleet.host(fromHostId) : fleet.hosts().find(({ spec }) => spec.libvirtUri === uri);
  if (host === undefined) throw connectionError(`cannot connect to ${uri}: no route to host`);
  return host.through('connect', async () => {
    if (!host.reachable && !local) throw connectionError(`cannot connect to ${uri}: connection timed out`);
    if (!fleet.network.isUp(fromHostId, host.spec.hostId)) {
      await fleet.clock.sleep(CONNECT_TIMEOUT_MS);
      if (!fleet.network.isUp(fromHostId, host.spec.hostId)) {
        throw connectionError(`cannot connect to ${uri}: timed out`);
      }
    }
    return new SimulatedConnection(new Session(fleet, { host, uri, clientHostId: fromHostId, process }));
  });
}

/** SIMULATED: what a client can ask of one host's daemon. */
class SimulatedConnection implements HypervisorConnection {
  readonly uri: string;
  readonly closed: Promise<void>;
  readonly #session: Session;
  readonly #fleet: SimulatedFleet;
  readonly #host: SimulatedHost;

  constructor(session: Session) {
    this.#session = session;
    this.#fleet = session.fleet;
    this.#host = session.host;
    this.uri = session.uri;
    this.closed = session.closed;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  versions(): Promise<Versions> {
    return this.#session.call('find', async () => ({ libvirt: this.#fleet.libvirtVersion, qemu: 10_000_002 }));
  }

  hostUuid(): Promise<string> {
    return this.#session.call('find', async () => this.#host.uuid);
  }

  freeMemoryMiB(): Promise<number> {
    return this.#session.call('find', async () => {
      const used = [...this.#host.copies.values()]
        .filter(({ state }) => state !== 'shutoff')
        .reduce((sum, { guest }) => sum + guest.memoryMiB, 0);
      return this.#host.spec.memoryMiB - used;
    });
  }

  networkActive(): Promise<boolean> {
    return this.#session.call('find', async () => true);
  }

  compareCpu(): Promise<'identical'> {
    return this.#session.call('find', async () => 'identical' as const);
  }

  domainCapabilities(): Promise<string> {
    return this.#session.call('find', async () => '<domainCapabilities/>');
  }

  list(): Promise<DomainSummary[]> {
    return this.#session.call('find', async () =>
      [...this.#host.copies.values()].map(({ guest, state }) => ({
        name: guest.name,
        uuid: guest.uuid,
        state,
        memoryMiB: guest.memoryMiB,
      })),
    );
  }

  find(vm: string): Promise<Domain | undefined> {
    return this.#session.call('find', async () => {
      const copy = this.#host.copies.get(vm);
      return copy && new SimulatedDomain(this.#session, copy.guest.name, copy.guest.uuid);
    });
  }

  prepare({
    name,
    xml,
    resume,
    migratedDisks,
  }: MigrationOptions & HandshakeInput): Promise<{ cookie: Buffer; uri: string }> {
    return this.#session.call('prepare', async () => {
      const here = this.#host.copies.get(name);
      if (resume === true) {
        if (!this.#fleet.canResumePostCopy) {
          this.#fleet.onDaemonCrash(this.#host.spec.hostId);
          this.#host.restartDaemon();
          throw connectionError('the daemon has ended');
        }
        if (here?.state !== 'postcopy-failed') throw libvirtError('QEMU reports migration is still running');
        return { cookie: NO_COOKIE, uri: `tcp:${this.#host.spec.address}:${MIGRATION_PORT}` };
      }
      if (here !== undefined && here.state !== 'shutoff') throw libvirtError(`domain '${name}' is already active`);
      const sent = this.#fleet.hosts().find(({ copies }) => {
        const copy = copies.get(name);
        return copy !== undefined && guestXml(copy.guest) === xml;
      });
      if (sent === undefined) throw libvirtError('the XML is of no simulated guest');
      const { guest } = sent.mustHave(name);
      const image = this.#openImage(guest, migratedDisks);
      const incoming = { state: 'incoming', detail: 'paused (migrating)' } as const;
      const copy: Copy = { guest, ...incoming, preparedBy: this.#session, runningSince: 0, ...(image && { image }) };
      this.#host.put(copy);
      // The connection went while the call was on its way to the daemon.
      if (!this.#session.open) this.#host.remove(name);
      return { cookie: NO_COOKIE, uri: `tcp:${this.#host.spec.address}:${MIGRATION_PORT}` };
    });
  }

  finish({ name, cancelled }: MigrationOptions & { cancelled: boolean }): Promise<{ cookie: Buffer }> {
    return this.#session.call('finish', async () => {
      const copy = this.#host.copies.get(name);
      const half = copy?.state === 'postcopy-running' || copy?.state === 'postcopy-failed';
      if (copy === undefined || (copy.state !== 'incoming' && !half)) {
        throw libvirtError(`migration of domain ${name} is not in progress`);
      }
      if (cancelled) {
        this.#host.remove(name);
        throw libvirtError('migration successfully aborted', 76);
      }
      if (copy.postCopy !== undefined) {
        await copy.postCopy.finish();
        return { cookie: NO_COOKIE };
      }
      // From here on the daemon goes through with it, whatever becomes of its client.
      delete copy.preparedBy;
      await this.#fleet.clock.sleep(FINISH_MS);
      if (this.#host.copies.get(name) !== copy) throw libvirtError('the QEMU of the incoming copy has died');
      const running = this.#host.run(copy.guest, 'running (migrated)', copy.image);
      if (copy.lastJob !== undefined) running.lastJob = copy.lastJob;
      if (copy.guest.unannounced)
        this.#host.change(Object.assign(running, { unheard: true }), 'running', running.detail);
      return { cookie: NO_COOKIE };
    });
  }

  /** The image that a disk is copied to has to be there. */
  #openImage(guest: Guest, migratedDisks: readonly string[] = []): ImageFile | undefined {
    if (guest.disk === undefined) return undefined;
    const image = this.#host.images.files.get(imageOf(guest));
    if (!migratedDisks.includes(LOCAL_DISK) || image === undefined) {
      throw libvirtError(`Cannot access storage file '${imageOf(guest)}'`, 38);
    }
    return image;
  }
}
