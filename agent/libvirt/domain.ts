import { MIB } from '../../common/units.ts';
import type { CopyState } from '../../contract/facts.ts';
import {
  type DiskSize,
  type Domain,
  type GuestInterface,
  type HandshakeInput,
  HypervisorError,
  type JobStats,
  type MigrationOptions,
} from '../hypervisor.ts';
import type { Connection } from './connection.ts';
import { isLibvirtError, LIBVIRT_ERROR } from './errors.ts';
import { INCOMING_JOB, jobStatsOf } from './job.ts';
import { beginParameters, migrationParameters, sourceFlags } from './migration.ts';
import {
  ADDRESS_SOURCES,
  DIRTY_RATE_BY_SAMPLING,
  DIRTY_RATE_MEASURED,
  DIRTY_RATE_MEASURING,
  JOB_STATS_FLAGS,
  JOB_TYPE,
  LIST_MAX,
  type Procedure,
  type QemuProcedure,
  SPEED_MAX_MIBPS,
  STATS,
  UNDEFINE_FLAGS,
  XML_FLAGS,
} from './protocol.ts';
import { type DomainReference, formatUuid, writeDomain } from './references.ts';
import { copyStateOf, dependsOnJob, stateWords } from './states.ts';
import { domainStats } from './stats.ts';
import {
  byField,
  numberIn,
  type ParameterValues,
  readTypedParameter,
  writeTypedParameter,
} from './typed-parameters.ts';
import type { XdrReader, XdrWriter } from './xdr.ts';

/** libvirt waits 5 s for a guest agent; an address that comes so late is of no use any more. */
const AGENT_TIMEOUT_MS = 2_000;

/** What QEMU does by itself after a migration: five times within 1.5 s. */
const ANNOUNCE = { execute: 'announce-self', arguments: { initial: 50, max: 550, rounds: 5, step: 100 } };

export class LibvirtDomain implements Domain {
  readonly name: string;
  readonly uuid: string;
  readonly #connection: Connection;
  readonly #reference: DomainReference;

  constructor(connection: Connection, reference: DomainReference) {
    this.#connection = connection;
    this.#reference = reference;
    this.name = reference.name;
    this.uuid = formatUuid(reference.uuid);
  }

  async state(): Promise<{ state: CopyState; detail: string }> {
    try {
      for (;;) {
        const before = await this.#state();
        const job = dependsOnJob(before.state) ? await this.job() : undefined;
        // State and job are two questions: only when the state is still the same do the answers belong together.
        const after = dependsOnJob(before.state) ? await this.#state() : before;
        if (after.state !== before.state || after.reason !== before.reason) continue;
        const { state, reason } = after;
        return { state: copyStateOf(state, reason, job?.operation), detail: stateWords(state, reason) };
      }
    } catch (error) {
      // libvirt itself says that it is gone, which is a proof and not a guess.
      if (isLibvirtError(error, LIBVIRT_ERROR.NO_DOMAIN)) return { state: 'absent', detail: error.message };
      throw error;
    }
  }

  async persistent(): Promise<boolean> {
    return (await this.#call('DOMAIN_IS_PERSISTENT', nothing, (reader) => reader.int())) === 1;
  }

  xml(options: { migratable?: boolean; inactive?: boolean } = {}): Promise<string> {
    const flags =
      (options.migratable === true ? XML_FLAGS.migratable : 0) | (options.inactive === true ? XML_FLAGS.inactive : 0);
    return this.#call(
      'DOMAIN_GET_XML_DESC',
      (writer) => writer.uint(flags),
      (reader) => reader.string(),
    );
  }

  async job(): Promise<JobStats | undefined> {
    try {
      const job = await this.#jobStats(0);
      return job.type === JOB_TYPE.none ? undefined : job.stats;
    } catch (error) {
      // A domain that is not active has no job.
      if (isLibvirtError(error, LIBVIRT_ERROR.OPERATION_INVALID)) return undefined;
      // How libvirt says that it keeps no numbers on the receiving side of a migration.
      if (isLibvirtError(error, LIBVIRT_ERROR.OPERATION_UNSUPPORTED)) return INCOMING_JOB;
      throw error;
    }
  }

  async lastJob(): Promise<JobStats | undefined> {
    const job = await this.#jobStats(JOB_STATS_FLAGS.completed | JOB_STATS_FLAGS.keepCompleted);
    // Failed and cancelled jobs are kept in the same place.
    return job.type === JOB_TYPE.completed ? job.stats : undefined;
  }

  async cpuTimeNs(): Promise<bigint> {
    const values = await this.#stats(STATS.vcpu);
    let total = 0n;
    for (const [field, value] of values) {
      if (/^vcpu\.\d+\.time$/.test(field) && typeof value === 'bigint') total += value;
    }
    return total;
  }

  async residentBytes(): Promise<number> {
    return (numberIn(await this.#stats(STATS.balloon), 'balloon.rss') ?? 0) * 1_024;
  }

  /**
   * Sampling is the one way that works for every guest: the dirty bitmap is kept by KVM alone (for an emulated guest it says 0,
   * which is worse than an error) and has to write-protect all memory, the dirty ring has to be configured before the guest starts.
   */
  startDirtyRateCalc(seconds: number): Promise<void> {
    const write = (writer: XdrWriter) => writer.int(seconds).uint(DIRTY_RATE_BY_SAMPLING);
    return this.#call('DOMAIN_START_DIRTY_RATE_CALC', write, nothing);
  }

  async dirtyRate() {
    const values = await this.#stats(STATS.dirtyRate);
    const status = numberIn(values, 'dirtyrate.calc_status');
    if (status !== DIRTY_RATE_MEASURED) return status === DIRTY_RATE_MEASURING ? 'measuring' : undefined;
    return {
      bytesPerSecond: (numberIn(values, 'dirtyrate.megabytes_per_second') ?? 0) * MIB,
      seconds: numberIn(values, 'dirtyrate.calc_period') ?? 0,
    };
  }

  diskErrors(): Promise<string[]> {
    const write = (writer: XdrWriter) => writer.uint(LIST_MAX.diskErrors).uint(0);
    return this.#call('DOMAIN_GET_DISK_ERRORS', write, (reader) => {
      const disks = reader.array(LIST_MAX.diskErrors, (item) => {
        const disk = item.string();
        item.int(); // virDomainDiskErrorCode: unspecified or out of space.
        return disk;
      });
      reader.int(); // How many there are; the list is complete as long as a guest has no more disks than its limit.
      return disks;
    });
  }

  async disks(): Promise<string[]> {
    const { values, indexes } = await this.#blocks();
    return indexes
      .filter((index) => values.has(`block.${index}.rd.reqs`))
      .map((index) => String(values.get(`block.${index}.name`)));
  }

  async diskSizes(): Promise<DiskSize[]> {
    const { values, indexes } = await this.#blocks();
    return indexes.flatMap((index) => {
      const capacityBytes = numberIn(values, `block.${index}.capacity`);
      // `allocation` is the end of the highest write, and for a raw image 0.
      const allocatedBytes = numberIn(values, `block.${index}.physical`);
      if (capacityBytes === undefined || allocatedBytes === undefined) return [];
      const target = String(values.get(`block.${index}.name`));
      const writtenBytes = numberIn(values, `block.${index}.wr.bytes`) ?? 0;
      return [{ target, capacityBytes, allocatedBytes, writtenBytes }];
    });
  }

  guestAddresses(source: 'guest-agent' | 'arp'): Promise<GuestInterface[]> {
    return this.#call(
      'DOMAIN_INTERFACE_ADDRESSES',
      (writer) => writer.uint(ADDRESS_SOURCES[source]).uint(0),
      (reader) =>
        reader.array(LIST_MAX.interfaces, (item) => {
          item.string(); // The interface's name, in the guest or on the host.
          const mac = item.optionalString()?.toLowerCase();
          const addresses = item.array(LIST_MAX.interfaceAddresses, (entry) => {
            entry.int(); // virIPAddrType, which the address shows.
            const address = entry.string();
            entry.uint(); // The prefix.
            return address;
          });
          return { mac, addresses };
        }),
      AGENT_TIMEOUT_MS,
    );
  }

  /**
   * By QEMU's own command, which libvirt has no call for. Sending one taints the domain ("custom-monitor", a line in its log and
   * nothing else): libvirt warns of commands that change what it does not know of. This one sends a few packets and changes
   * nothing, and it is sent only where the guest would stay out of reach.
   */
  async announce(): Promise<void> {
    const answer = await this.#call(
      'QEMU_DOMAIN_MONITOR_COMMAND',
      (writer) => writer.string(JSON.stringify(ANNOUNCE)).uint(0),
      (reader) => reader.string(),
    );
    // libvirt passes QEMU's refusal on as it is.
    const { error } = JSON.parse(answer) as { error?: { desc?: string } };
    if (error !== undefined) throw new HypervisorError(`QEMU: ${error.desc ?? answer}`, { answered: true });
  }

  resume(): Promise<void> {
    return this.#call('DOMAIN_RESUME', nothing, nothing);
  }

  destroy(): Promise<void> {
    return this.#call('DOMAIN_DESTROY', nothing, nothing);
  }

  /** Drops the definition. NVRAM stays, as in libvirt's own migration: on shared storage the VM's new host uses it. */
  undefine(): Promise<void> {
    const { managedSave, snapshotsMetadata, checkpointsMetadata, keepNvram } = UNDEFINE_FLAGS;
    const flags = managedSave | snapshotsMetadata | checkpointsMetadata | keepNvram;
    return this.#call('DOMAIN_UNDEFINE_FLAGS', (writer) => writer.uint(flags), nothing);
  }

  begin(options: MigrationOptions): Promise<{ cookie: Buffer; xml: string }> {
    return this.#call(
      'DOMAIN_MIGRATE_BEGIN3_PARAMS',
      (writer) => writer.array(beginParameters(options), writeTypedParameter).uint(sourceFlags(options)),
      (reader) => ({ cookie: reader.opaque(), xml: reader.string() }),
    );
  }

  perform(options: MigrationOptions & HandshakeInput & { uri: string }): Promise<{ cookie: Buffer }> {
    return this.#call(
      'DOMAIN_MIGRATE_PERFORM3_PARAMS',
      (writer) =>
        writer
          .optionalString(undefined) // The destination's libvirt, which only a peer-to-peer migration needs.
          .array(migrationParameters(options, options.uri), writeTypedParameter)
          .opaque(options.cookie)
          .uint(sourceFlags(options)),
      (reader) => ({ cookie: reader.opaque() }),
      Number.POSITIVE_INFINITY,
    );
  }

  confirm(options: MigrationOptions & { cookie: Buffer; cancelled: boolean; inPostCopy?: boolean }): Promise<void> {
    return this.#call(
      'DOMAIN_MIGRATE_CONFIRM3_PARAMS',
      (writer) =>
        writer.array([], writeTypedParameter).opaque(options.cookie).uint(sourceFlags(options)).bool(options.cancelled),
      nothing,
      // It waits for the rest of the memory.
      options.inPostCopy === true ? Number.POSITIVE_INFINITY : undefined,
    );
  }

  setMaxDowntimeMs(ms: number): Promise<void> {
    const write = (writer: XdrWriter) => writer.uhyper(BigInt(ms)).uint(0);
    return this.#call('DOMAIN_MIGRATE_SET_MAX_DOWNTIME', write, nothing);
  }

  setMaxSpeedMiBps(mibps: number): Promise<void> {
    const write = (writer: XdrWriter) => writer.uhyper(mibps === 0 ? SPEED_MAX_MIBPS : BigInt(mibps)).uint(0);
    return this.#call('DOMAIN_MIGRATE_SET_MAX_SPEED', write, nothing);
  }

  abortJob(): Promise<void> {
    return this.#call('DOMAIN_ABORT_JOB', nothing, nothing);
  }

  startPostCopy(): Promise<void> {
    return this.#call('DOMAIN_MIGRATE_START_POST_COPY', (writer) => writer.uint(0), nothing);
  }

  #state(): Promise<{ state: number; reason: number }> {
    const read = (reader: XdrReader) => ({ state: reader.int(), reason: reader.int() });
    return this.#call('DOMAIN_GET_STATE', (writer) => writer.uint(0), read);
  }

  #jobStats(flags: number): Promise<{ type: number; stats: JobStats }> {
    return this.#call(
      'DOMAIN_GET_JOB_STATS',
      (writer) => writer.uint(flags),
      (reader) => ({
        type: reader.int(),
        stats: jobStatsOf(byField(reader.array(LIST_MAX.jobStats, readTypedParameter))),
      }),
    );
  }

  async #blocks(): Promise<{ values: ParameterValues; indexes: number[] }> {
    const values = await this.#stats(STATS.block);
    const count = numberIn(values, 'block.count') ?? 0;
    return { values, indexes: Array.from({ length: count }, (_, index) => index) };
  }

  async #stats(groups: number): Promise<ParameterValues> {
    const [record] = await domainStats(this.#connection, [this.#reference], groups);
    if (record !== undefined) return record.values;
    // Unlike every other call, this one leaves out domains that are gone.
    throw new HypervisorError(`Domain not found: "${this.name}" (${this.uuid})`, {
      answered: true,
      libvirtCode: LIBVIRT_ERROR.NO_DOMAIN,
    });
  }

  /** A call whose first argument is this domain. */
  #call<T>(
    procedure: Procedure | QemuProcedure,
    write: (writer: XdrWriter) => void,
    read: (reader: XdrReader) => T,
    timeoutMs?: number,
  ) {
    return this.#connection.call(
      procedure,
      (writer) => {
        writeDomain(writer, this.#reference);
        write(writer);
      },
      read,
      timeoutMs,
    );
  }
}

function nothing(): void {}
