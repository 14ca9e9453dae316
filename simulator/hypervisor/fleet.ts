import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import type { Clock } from '../../common/clock.ts';
import { SimulatedConnection } from './connection.ts';
import { type Guest, type HostSpec, imageOf, SimulatedHost, silence } from './host.ts';
import type { ImageFile } from './images.ts';
import { SimulatedNetwork } from './network.ts';
import type { SimulatedProcess } from './process.ts';

const CONNECT_PATIENCE_MS = 5_000;
/** A guest that fetches the rest of its memory runs meanwhile. */
const RUNNING: readonly string[] = ['running', 'postcopy-running'];

/**
 * SIMULATED: hosts, guests and their migrations, without libvirt or QEMU, on any clock. It behaves as libvirt was seen to:
 * what is left after every step of the protocol, after the client's death at each, and how a copy brakes and converges.
 *
 * For tests, for simulations of whole fleets, and for trying Handoff where no hypervisor can run. It proves nothing about
 * libvirt; the lab tests do.
 */
export class SimulatedFleet {
  readonly clock: Clock;
  readonly network: SimulatedNetwork;
  readonly random: () => number;
  /** Called right after every change of a VM's copies. */
  onChange: (vm: string) => void = () => {};
  /** Called when libvirt throws a half of a VM away that was prepared for a client that is gone: the other cannot go on. */
  onHalfLost: (vm: string) => void = () => {};
  /** Called when a daemon ends from what it was asked. */
  onDaemonCrash: (hostId: string) => void = () => {};
  /** As libvirt counts. A daemon of 11.3 ends when it is to resume a post-copy. */
  libvirtVersion = 11_005_000;
  /** Names of files on the storage that all hosts share. */
  readonly sharedFiles = new Set<string>();
  readonly #hosts = new Map<string, SimulatedHost>();
  readonly #lookers = new Set<() => void>();
  #guests = 0;

  constructor(clock: Clock, random: () => number = () => 0) {
    this.clock = clock;
    this.random = random;
    this.network = new SimulatedNetwork(clock);
  }

  /** Whether a broken post-copy can be resumed. */
  get resumes(): boolean {
    return Math.floor(this.libvirtVersion / 1_000) !== 11_003;
  }

  addHost(spec: Partial<HostSpec> & { hostId: string }): SimulatedHost {
    const number = this.#hosts.size + 1;
    const address = spec.address ?? `10.0.${number >> 8}.${number & 255}`;
    const host = new SimulatedHost(
      {
        address,
        libvirtUri: `qemu+tcp://${address}/system`,
        memoryMiB: 262_144,
        linkMiBps: 1_100,
        linkTestsPass: true,
        ...spec,
      },
      uuidOf('host', number),
      this.clock,
      (vm) => {
        this.onChange(vm);
        for (const look of this.#lookers) look();
      },
    );
    this.#hosts.set(spec.hostId, host);
    return host;
  }

  /** Starts a VM; by default 4 GiB with a modest load. */
  addGuest(hostId: string, spec: Partial<Guest> & { name: string }): Guest {
    this.#guests += 1;
    const guest: Guest = {
      uuid: uuidOf('vm', this.#guests),
      memoryMiB: 4_096,
      vcpus: 2,
      dirtyMiBps: 20,
      workingSetMiB: 64,
      persistent: true,
      ...spec,
    };
    const host = this.host(hostId);
    const image: ImageFile | undefined = guest.disk && { holds: guest.disk.newest };
    if (image !== undefined) host.images.files.set(imageOf(guest), image);
    host.run(guest, 'running (booted)', image);
    return guest;
  }

  host(hostId: string): SimulatedHost {
    const host = this.#hosts.get(hostId);
    if (host === undefined) throw new Error(`the simulated fleet has no host "${hostId}"`);
    return host;
  }

  hosts(): SimulatedHost[] {
    return [...this.#hosts.values()];
  }

  at(address: string): SimulatedHost | undefined {
    return this.hosts().find(({ spec }) => spec.address === address);
  }

  /** Whether a guest answers at this address. */
  answersAt(address: string): boolean {
    return this.hosts().some(({ copies }) =>
      [...copies.values()].some(
        ({ guest, state, unheard }) => guest.address === address && RUNNING.includes(state) && unheard !== true,
      ),
    );
  }

  /** Calls `look` after every change of a copy's state; returns what ends that. */
  onEachChange(look: () => void): () => void {
    this.#lookers.add(look);
    return () => this.#lookers.delete(look);
  }

  /** Connects from one host to a libvirt URI; a URI without a host name is the host's own. */
  async connect(fromHostId: string, uri: string, process?: SimulatedProcess): Promise<HypervisorConnection> {
    const local = uri.includes(':///');
    const host = local ? this.host(fromHostId) : this.hosts().find(({ spec }) => spec.libvirtUri === uri);
    if (host === undefined) throw silence(`cannot connect to ${uri}: no route to host`);
    return host.through('connect', async () => {
      if (!host.reachable && !local) throw silence(`cannot connect to ${uri}: connection timed out`);
      if (!this.network.isUp(fromHostId, host.spec.hostId)) {
        await this.clock.sleep(CONNECT_PATIENCE_MS);
        if (!this.network.isUp(fromHostId, host.spec.hostId)) throw silence(`cannot connect to ${uri}: timed out`);
      }
      return new SimulatedConnection(this, { host, uri, clientHostId: fromHostId, process });
    });
  }
}

function uuidOf(kind: 'host' | 'vm', number: number): string {
  return `${kind === 'host' ? '00000000' : '11111111'}-0000-4000-8000-${String(number).padStart(12, '0')}`;
}
