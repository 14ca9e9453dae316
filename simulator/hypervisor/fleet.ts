import type { Clock } from '../../common/clock.ts';
import { type Guest, imageOf } from './copy.ts';
import { type HostSpec, SimulatedHost } from './host.ts';
import type { ImageFile } from './images.ts';
import { SimulatedNetwork } from './network.ts';

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
  readonly #listeners = new Set<() => void>();
  #guests = 0;

  constructor(clock: Clock, random: () => number = () => 0) {
    this.clock = clock;
    this.random = random;
    this.network = new SimulatedNetwork(clock);
  }

  /** Whether a broken post-copy can be resumed. */
  get canResumePostCopy(): boolean {
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
        for (const listener of this.#listeners) listener();
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

  /** Calls `listener` after every change of a copy's state; returns what ends that. */
  onEachChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function uuidOf(kind: 'host' | 'vm', number: number): string {
  return `${kind === 'host' ? '00000000' : '11111111'}-0000-4000-8000-${String(number).padStart(12, '0')}`;
}
