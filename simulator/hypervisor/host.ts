import type { Clock } from '../../common/clock.ts';
import { type Copy, type Guest, imageOf } from './copy.ts';
import { libvirtError } from './errors.ts';
import { type ImageFile, SimulatedImages } from './images.ts';

export interface HostSpec {
  hostId: string;
  address: string;
  libvirtUri: string;
  memoryMiB: number;
  /** Speed of its link for a copy that leaves. */
  linkMiBps: number;
  /** Whether a firewall lets through the port that bandwidth is measured by. */
  linkTestsPass: boolean;
}

/** Calls that faults can be put in the way of. */
export type CallName =
  | 'connect'
  | 'find'
  | 'begin'
  | 'prepare'
  | 'perform'
  | 'finish'
  | 'confirm'
  | 'job'
  | 'abortJob'
  | 'startPostCopy'
  /** Looking at a half of a post-copy. */
  | 'rest'
  | 'resume'
  | 'destroy';

/** A fault: called in place of the call; `proceed` carries it out. */
export type Fault = (proceed: () => Promise<unknown>) => Promise<unknown>;

/** SIMULATED: a hypervisor host with its libvirt daemon. */
export class SimulatedHost {
  readonly spec: HostSpec;
  readonly uuid: string;
  readonly copies = new Map<string, Copy>();
  readonly faults = new Map<CallName, Fault>();
  readonly images = new SimulatedImages((path) => this.#imagesChanged(path));
  readonly #clock: Clock;
  readonly #sever = new Set<() => void>();
  readonly #changed: (vm: string) => void;
  #reachable = true;
  #restarts = 0;

  /** `changed` is called right after every change of a copy's state. */
  constructor(spec: HostSpec, uuid: string, clock: Clock, changed: (vm: string) => void) {
    this.spec = spec;
    this.uuid = uuid;
    this.#clock = clock;
    this.#changed = changed;
  }

  /** How often the daemon was restarted. */
  get restarts(): number {
    return this.#restarts;
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  /** Cuts every connection to the daemon, as a broken network does; clients' deaths follow from it. */
  severConnections(): void {
    for (const sever of [...this.#sever]) sever();
  }

  /** The guests continue to run; the daemon's jobs are lost. */
  restartDaemon(): void {
    this.#restarts += 1;
    this.severConnections();
  }

  /** As when the QEMU process crashes. False when there is none. */
  killQemu(vm: string): boolean {
    const copy = this.copies.get(vm);
    if (copy === undefined || copy.state === 'shutoff') return false;
    this.end(copy, 'shut off (crashed)');
    return true;
  }

  /** Everything on the host is gone at once, its daemon's memory with it. It stays away until it becomes reachable. */
  losePower(): void {
    this.#restarts += 1;
    this.becomeUnreachable();
    for (const copy of [...this.copies.values()]) {
      if (copy.state !== 'shutoff') this.end(copy, 'shut off (unknown)');
    }
  }

  /** The host is unreachable from now on. Its guests continue to run. */
  becomeUnreachable(): void {
    this.#reachable = false;
    this.severConnections();
  }

  becomeReachable(): void {
    this.#reachable = true;
  }

  /** Registers a connection; returns how to take it off again. */
  connected(sever: () => void): () => void {
    this.#sever.add(sever);
    return () => this.#sever.delete(sever);
  }

  through<T>(name: CallName, proceed: () => Promise<T>): Promise<T> {
    const fault = this.faults.get(name);
    return fault === undefined ? proceed() : (fault(proceed) as Promise<T>);
  }

  run(guest: Guest, detail: string, image?: ImageFile): Copy {
    const copy: Copy = {
      guest,
      state: 'running',
      detail,
      runningSince: this.#clock.now(),
      ...(image && { image }),
    };
    writes(copy);
    this.put(copy);
    return copy;
  }

  put(copy: Copy): void {
    this.copies.set(copy.guest.name, copy);
    this.#changed(copy.guest.name);
  }

  change(copy: Copy, state: Copy['state'], detail: string): void {
    copy.state = state;
    copy.detail = detail;
    writes(copy);
    this.#changed(copy.guest.name);
  }

  remove(name: string): void {
    const copy = this.copies.get(name);
    this.copies.delete(name);
    copy?.stream?.();
    this.#changed(name);
  }

  /** The copy's QEMU ends; what remains of a persistent guest is its definition. */
  end(copy: Copy, detail: string): void {
    copy.outgoing?.end(libvirtError('domain is not running'));
    if (!copy.guest.persistent || copy.state === 'incoming') {
      this.remove(copy.guest.name);
    } else {
      this.change(copy, 'shutoff', detail);
      copy.stream?.();
    }
  }

  #imagesChanged(path: string): void {
    for (const { guest } of this.copies.values()) {
      if (guest.disk !== undefined && imageOf(guest) === path) this.#changed(guest.name);
    }
  }

  mustHave(name: string): Copy {
    const copy = this.copies.get(name);
    if (copy === undefined) throw libvirtError(`Domain not found: no domain with matching name '${name}'`, 42);
    return copy;
  }
}

/** A guest that begins to run changes its disk at once; what an old image has of it stays old. */
function writes({ guest: { disk }, state, image }: Copy): void {
  if (disk === undefined || image === undefined || state !== 'running' || image.holds !== disk.newest) return;
  disk.newest += 1;
  image.holds = disk.newest;
}
