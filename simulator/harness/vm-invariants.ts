import { type Guest, imageOf, type LocalDisk } from '../hypervisor/copy.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import type { Invariant } from './invariants.ts';

/** In a broken post-copy the destination's half is the one that ran, and it still runs as far as it can. */
const RUNNING: readonly string[] = ['running', 'postcopy-running'];

/** What the invariants of VMs need to know of the migrations. */
export interface VmInvariantsOptions {
  fleet: SimulatedFleet;
  /** VMs whose QEMU, or a copy of it, was killed: they may be gone. */
  harmed: ReadonlySet<string>;
  log(message: string): void;
  violated(invariant: Invariant, detail: string): void;
  /** The migration that holds a VM's lock. */
  lockOwner(vm: string): string | undefined;
  /** Whether a migration of the VM to this host has been committed. */
  isCommitted(vm: string, destination: string): boolean;
}

/** What must hold of the VMs, their copies and their disks whenever one of them changes. */
export class VmInvariants {
  /** Migrations that used post-copy. */
  readonly postCopied = new Set<string>();
  /** Those of them that have lost a half of the VM. */
  readonly halved = new Set<string>();
  /** The host that each VM last ran on. */
  readonly #homes = new Map<string, string>();
  /** VMs with a local disk, also those that are gone. */
  readonly #disks = new Map<string, Pick<Guest, 'persistent'> & { disk: LocalDisk }>();
  /** All hosts that VMs ran on. */
  readonly #ranOn = new Set<string>();
  readonly #options: VmInvariantsOptions;

  constructor(options: VmInvariantsOptions) {
    this.#options = options;
  }

  homeOf(vm: string): string | undefined {
    return this.#homes.get(vm);
  }

  everRanOn(vm: string, hostId: string): boolean {
    return this.#ranOn.has(`${vm} on ${hostId}`);
  }

  /** Called right after a change of one of a VM's copies. */
  vmChanged(vm: string): void {
    const { fleet, harmed, log, violated } = this.#options;
    const copies = fleet.hosts().flatMap((host) => {
      const copy = host.copies.get(vm);
      return copy === undefined
        ? []
        : [{ host: host.spec.hostId, state: copy.state, half: copy.postCopy?.whole === false }];
    });
    const running = copies.filter(({ state }) => RUNNING.includes(state)).map(({ host }) => host);
    log(`${vm}: ${copies.map(({ host, state }) => `${state} on ${host}`).join(', ') || 'on no host'}`);
    if (running.length > 1) violated('a VM never runs on two hosts', `${vm} runs on ${running.join(' and ')}`);
    this.#checkMemory(vm);
    this.#checkDisk(vm);
    const migrationId = this.#options.lockOwner(vm) ?? vm;
    if (copies.some(({ state }) => state === 'postcopy-paused')) this.postCopied.add(migrationId);
    // Half of a VM counts only together with the other half.
    const halves = copies.filter(({ state }) => state === 'incoming' || state.startsWith('postcopy-')).length;
    const alive = halves > 1 || copies.some(({ state }) => state === 'running' || state === 'migrating-paused');
    if (!alive && copies.some(({ half }) => half)) this.halved.add(migrationId);
    if (!alive && !harmed.has(vm)) {
      violated('no VM is lost', `${vm} is left without a copy that runs or could be resumed`);
    }
    const [at] = running;
    const home = this.#homes.get(vm);
    if (at === undefined || at === home) return;
    this.#homes.set(vm, at);
    this.#ranOn.add(`${vm} on ${at}`);
    // A transient VM that ended on the destination leaves no trace there, so recovery cannot know that it ran.
    const unknown = harmed.has(vm) && !fleet.host(at).copies.get(vm)!.guest.persistent;
    if (home !== undefined && !unknown && !this.#options.isCommitted(vm, at)) {
      violated(
        'the destination runs a VM only after the commit',
        `${vm} was started on ${at} without a committed commit record`,
      );
    }
  }

  /** Checks that an image holds the VM's newest data, that the VM runs on that image, and that the image keeps its name. */
  #checkDisk(vm: string): void {
    const { fleet, harmed, violated } = this.#options;
    const [known] = fleet.hosts().flatMap(({ copies }) => copies.get(vm)?.guest ?? []);
    if (known?.disk !== undefined) this.#disks.set(vm, { persistent: known.persistent, disk: known.disk });
    const { disk, persistent } = this.#disks.get(vm) ?? {};
    // A transient VM that ended on the destination leaves no trace there, so recovery cannot know that it wrote.
    if (disk === undefined || (harmed.has(vm) && !persistent)) return;
    const path = imageOf({ name: vm });
    if (!fleet.hosts().some(({ images }) => images.files.get(path)?.holds === disk.newest)) {
      violated('no disk is lost', `no image holds the newest version of the disk of ${vm}`);
    }
    for (const { copies, spec, images } of fleet.hosts()) {
      const { guest, state, image } = copies.get(vm) ?? {};
      if (guest === undefined || !RUNNING.includes(state!)) continue;
      if (image === undefined || images.files.get(imageOf(guest)) !== image) {
        violated('no image of a running VM is removed', `${vm} runs on ${spec.hostId} without its image`);
      } else if (image.holds !== disk.newest) {
        violated('a VM runs on the newest version of its disk', `${vm} on ${spec.hostId} runs on an older one`);
      }
    }
  }

  /** Checks that a host that receives a VM has the memory for it. */
  #checkMemory(vm: string): void {
    for (const { copies, spec } of this.#options.fleet.hosts()) {
      if (copies.get(vm)?.state !== 'incoming') continue;
      const there = [...copies.values()].filter(({ state }) => state !== 'shutoff');
      const used = there.reduce((sum, { guest }) => sum + guest.memoryMiB, 0);
      if (used > spec.memoryMiB) {
        const missing = `${used - spec.memoryMiB} MiB`;
        this.#options.violated(
          'memory of a host is not promised twice',
          `${spec.hostId} receives ${vm} and lacks ${missing}`,
        );
      }
    }
  }
}
