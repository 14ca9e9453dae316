import type { CopyState, DomainSummary } from '../contract/facts.ts';

/**
 * What the stages and the mover need from a hypervisor. agent/libvirt implements it; tests and simulations use a simulated one. Memory is
 * in MiB, times in ms, rates in MiB/s, unless the name says otherwise.
 *
 * Any call may reject with a HypervisorError; the handover depends on its `answered`.
 */
export interface Hypervisor {
  readonly uri: string;
  /** Resolves (never rejects) when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
  close(): Promise<void>;

  versions(): Promise<Versions>;
  /** The host's UUID as its capabilities name it (host_uuid, else SMBIOS); two URIs with the same one are the same host. */
  hostUuid(): Promise<string>;
  /** Free memory as the host's kernel counts it (free + reclaimable), in MiB. */
  freeMemoryMiB(): Promise<number>;
  networkActive(name: string): Promise<boolean>;
  /** Whether the CPU of a domain fits this host: libvirt's own comparison for that emulator, machine and virtualisation type. */
  compareCpu(guest: GuestPlatform, cpuXml: string): Promise<'incompatible' | 'identical' | 'superset'>;
  /** Throws a HypervisorError with libvirt's reason when this host cannot run such a guest. Returns the capabilities' XML. */
  domainCapabilities(guest: GuestPlatform): Promise<string>;

  /** All domains known here, running or not. */
  list(): Promise<DomainSummary[]>;
  /** undefined only when libvirt itself says that no such domain exists. */
  find(vm: string): Promise<Domain | undefined>;
}

export interface Versions {
  /** major * 1,000,000 + minor * 1,000 + release, as libvirt counts. */
  libvirt: number;
  qemu: number;
}

export interface GuestPlatform {
  emulator: string;
  arch: string;
  machine: string;
  /** `kvm` or `qemu`. */
  virtType: string;
}

export interface DiskSize {
  target: string;
  /** The size that the guest sees. */
  capacityBytes: number;
  /** The space that the image takes on its host, without holes. */
  allocatedBytes: number;
  /** By the guest, since it runs there. */
  writtenBytes: number;
}

export interface GuestInterface {
  /** In lower case, with colons; absent when the source does not know it. */
  mac: string | undefined;
  addresses: string[];
}

/** One domain on one host, bound to the connection it was looked up on. */
export interface Domain {
  readonly name: string;
  readonly uuid: string;

  /** Recovery's view of the state, with libvirt's own words beside it. */
  state(): Promise<{ state: CopyState; detail: string }>;
  persistent(): Promise<boolean>;
  xml(options?: { migratable?: boolean; inactive?: boolean }): Promise<string>;
  /** The active job, if any; `undefined` when libvirt says there is none. */
  job(): Promise<JobStats | undefined>;
  /** The last job that completed, with its measured downtime; libvirt keeps a migration's on the destination only. */
  lastJob(): Promise<JobStats | undefined>;
  /** vCPU time used so far, in ns, summed over vCPUs; it advances only while the guest runs. */
  cpuTimeNs(): Promise<bigint>;
  /** Memory of the domain's process, in bytes: the guest's that is backed by the host, and the hypervisor's own. */
  residentBytes(): Promise<number>;
  /**
   * Starts a measurement of the dirty rate over `seconds` (1-60). Refused while an earlier measurement runs. The guest is not slowed:
   * QEMU compares samples of its pages.
   */
  startDirtyRateCalc(seconds: number): Promise<void>;
  /** The result of the last measurement, of any client: the distinct memory that changed, per second. Undefined when there was none. */
  dirtyRate(): Promise<{ bytesPerSecond: number; seconds: number } | 'measuring' | undefined>;
  /**
   * The guest's addresses, as its own agent says, or as this host's neighbour table has them (for the domain's own interfaces
   * only). A guest without an agent, or one whose agent does not answer within 2 s, is a rejection.
   */
  guestAddresses(source: 'guest-agent' | 'arp'): Promise<GuestInterface[]>;
  /** Names of disks with an I/O error, as libvirt reports them. */
  diskErrors(): Promise<string[]>;
  /** Targets (vda, ...) of the disks QEMU has open, with whether they count requests (block statistics are present). */
  disks(): Promise<string[]>;
  /** Of the same disks, those that libvirt knows the size of. */
  diskSizes(): Promise<DiskSize[]>;

  /** Announces the guest to the network again (QEMU's announce-self). Returns before that is done (1.5 s). */
  announce(): Promise<void>;
  resume(): Promise<void>;
  /** Ends this copy at once (virDomainDestroy). */
  destroy(): Promise<void>;
  undefine(): Promise<void>;

  // The migration protocol, version 3, as its client drives it. On the source unless said otherwise.
  begin(options: MigrationOptions): Promise<{ cookie: Buffer; xml: string }>;
  /**
   * Returns when the source is paused and everything is on the destination, or, in a post-copy, all but the rest of the memory.
   * Otherwise rejects with the copy's error.
   */
  perform(options: MigrationOptions & HandshakeInput & { uri: string }): Promise<{ cookie: Buffer }>;
  confirm(options: MigrationOptions & { cookie: Buffer; cancelled: boolean; inPostCopy?: boolean }): Promise<void>;
  setMaxDowntimeMs(ms: number): Promise<void>;
  /** QEMU takes no less than 1 MiB/s; 0 lifts the limit. */
  setMaxSpeedMiBps(mibps: number): Promise<void>;
  /** Switches the running copy to post-copy: the source pauses, and Perform returns. From then on it can't run on alone. */
  startPostCopy(): Promise<void>;
  /** Asks for the job's end; the job is gone only once `job()` says so. */
  abortJob(): Promise<void>;
}

/** The destination's two calls of the protocol; they exist before the domain does. */
export interface HypervisorConnection extends Hypervisor {
  /**
   * `address` is where the source is to send the memory: the destination's address on the migration network. Without it the
   * destination names itself, by its configuration or its hostname, which the source may not be able to resolve.
   */
  prepare(options: MigrationOptions & HandshakeInput & { address?: string }): Promise<{ cookie: Buffer; uri: string }>;
  /**
   * Starts the copy (`cancelled: false`) or throws it away (`cancelled: true`). A rejection with `answered: true` means the
   * destination refused and has destroyed its copy; with `answered: false` nobody knows.
   *
   * In a post-copy the copy runs at once, the answer comes when the rest of the memory has, and a refusal leaves the half that
   * runs as it is. `cancelled` would destroy that half, and with it the VM.
   */
  finish(
    options: MigrationOptions & HandshakeInput & { uri: string; cancelled: boolean; inPostCopy?: boolean },
  ): Promise<{ cookie: Buffer }>;
}

export interface MigrationOptions {
  name: string;
  /** Keep the domain's definition on the destination, and drop it from the source (a persistent guest moves whole). */
  persistent: boolean;
  /** Enables auto-converge: QEMU throttles the guest in these steps (percent) when it dirties too much. */
  throttle?: { initialPercent: number; incrementPercent: number };
  /**
   * The bandwidth for the last pass, in MiB/s: QEMU uses it instead of its own estimate to decide whether the rest fits into the downtime
   * limit. Supported by libvirt 11.1 and QEMU 8.2.
   */
  availSwitchoverBandwidthMiBps?: number;
  /** Enables post-copy, which begins when `startPostCopy` is called. */
  postCopy?: boolean;
  /** The limit of the background stream of post-copy, in MiB/s; pages that the guest requests are sent at once. 0: no limit. */
  postCopyMiBps?: number;
  /** All five calls once more, for a post-copy that broke: both halves are there, and only the rest of the memory is sent. */
  resume?: boolean;
  /** Targets (vda, ...) of the disks that are copied too; the destination has an image of the same size for each. */
  migratedDisks?: readonly string[];
  /** The bandwidth limit of each disk, in MiB/s; 0: no limit. Unlike the memory's limit it cannot change after Perform has begun. */
  diskMiBps?: number;
  /** TCP connections for the memory, when more than one. */
  connections?: number;
}

export interface HandshakeInput {
  xml: string;
  cookie: Buffer;
}

/** libvirt's job statistics, in bytes, bytes per second and ms. Memory only, except `disks`. */
export interface JobStats {
  operation: 'migration-out' | 'migration-in' | 'other';
  elapsedMs: number;
  bytesTotal: number;
  bytesProcessed: number;
  bytesRemaining: number;
  bytesPerSecond: number;
  dirtyBytesPerSecond: number;
  iteration: number;
  /**
   * Of the migrated disks, including holes. Disks are copied first: until all are complete, no memory is sent and its figures are 0; from
   * then on libvirt does not update these figures.
   */
  disks?: { bytesTotal: number; bytesProcessed: number; bytesRemaining: number };
  /** The present throttle of auto-converge, 0-99. */
  throttlePercent?: number;
  /** QEMU's expected (during) or measured (afterwards) downtime. */
  downtimeMs?: number;
}

/**
 * A call to a hypervisor went wrong.
 *
 * `answered: true`: libvirt said no, and `libvirtCode` is its error code (virErrorNumber). `answered: false`: the connection
 * was lost or timed out before an answer came, so whether the call took effect is unknown.
 */
export class HypervisorError extends Error {
  override readonly name = 'HypervisorError';
  readonly answered: boolean;
  readonly libvirtCode: number | undefined;

  constructor(message: string, options: { answered: boolean; libvirtCode?: number; cause?: unknown }) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.answered = options.answered;
    this.libvirtCode = options.libvirtCode;
  }
}
