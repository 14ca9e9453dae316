import { XMLParser } from 'fast-xml-parser';
import type { DomainSummary } from '../../contract/facts.ts';
import {
  type Domain,
  type GuestPlatform,
  type HandshakeInput,
  type HypervisorConnection,
  HypervisorError,
  type MigrationOptions,
  type Versions,
} from '../hypervisor.ts';
import type { Connection } from './connection.ts';
import { LibvirtDomain } from './domain.ts';
import { isLibvirtError, LIBVIRT_ERROR } from './errors.ts';
import { destinationFlags, migrationParameters } from './migration.ts';
import { LIST_MAX, STATS, STATS_NOWAIT } from './protocol.ts';
import { readDomain, readNetwork, writeNetwork } from './references.ts';
import { copyStateOf, dependsOnJob } from './states.ts';
import { type DomainStats, domainStats } from './stats.ts';
import { writeTypedParameter } from './typed-parameters.ts';
import type { XdrReader, XdrWriter } from './xdr.ts';

export class LibvirtHypervisor implements HypervisorConnection {
  readonly uri: string;
  readonly closed: Promise<void>;
  readonly #connection: Connection;

  constructor(connection: Connection, uri: string) {
    this.#connection = connection;
    this.uri = uri;
    this.closed = connection.closed;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async versions(): Promise<Versions> {
    const read = (reader: XdrReader) => Number(reader.uhyper());
    const [libvirt, qemu] = await Promise.all([
      this.#connection.call('CONNECT_GET_LIB_VERSION', nothing, read),
      this.#connection.call('CONNECT_GET_VERSION', nothing, read),
    ]);
    return { libvirt, qemu };
  }

  async hostUuid(): Promise<string> {
    const xml = await this.#connection.call('CONNECT_GET_CAPABILITIES', nothing, (reader) => reader.string());
    // Text stays text: a UUID such as "1e10..." must not be read as a number.
    const uuid: unknown = new XMLParser({ parseTagValue: false }).parse(xml).capabilities?.host?.uuid;
    if (typeof uuid === 'string' && uuid !== '') return uuid;
    throw new HypervisorError(`${this.uri} has no host UUID; set host_uuid in libvirtd.conf`, { answered: true });
  }

  /** free + buffers + cached of /proc/meminfo: what a new guest could have, though some of the cache may be in use. */
  async freeMemoryMiB(): Promise<number> {
    // libvirt wants to be asked for exactly as many figures as there are, so the first call asks how many.
    const { count } = await this.#nodeMemory(0);
    const { kibibytes } = await this.#nodeMemory(count);
    const sum = ['free', 'buffers', 'cached'].reduce((total, name) => total + (kibibytes.get(name) ?? 0n), 0n);
    return Math.floor(Number(sum) / 1_024);
  }

  async networkActive(name: string): Promise<boolean> {
    try {
      const network = await this.#connection.call(
        'NETWORK_LOOKUP_BY_NAME',
        (writer) => writer.string(name),
        readNetwork,
      );
      const write = (writer: XdrWriter) => writeNetwork(writer, network);
      return (await this.#connection.call('NETWORK_IS_ACTIVE', write, (reader) => reader.int())) === 1;
    } catch (error) {
      if (isLibvirtError(error, LIBVIRT_ERROR.NO_NETWORK)) return false;
      throw error;
    }
  }

  async compareCpu(guest: GuestPlatform, cpuXml: string): Promise<'incompatible' | 'identical' | 'superset'> {
    const write = (writer: XdrWriter) => writePlatform(writer, guest).string(cpuXml).uint(0);
    const result = await this.#connection.call('CONNECT_COMPARE_HYPERVISOR_CPU', write, (reader) => reader.int());
    const comparison = (['incompatible', 'identical', 'superset'] as const)[result];
    if (comparison !== undefined) return comparison;
    throw new HypervisorError(`libvirt compared the CPU with the unknown result ${result}`, { answered: true });
  }

  domainCapabilities(guest: GuestPlatform): Promise<string> {
    const write = (writer: XdrWriter) => writePlatform(writer, guest).uint(0);
    return this.#connection.call('CONNECT_GET_DOMAIN_CAPABILITIES', write, (reader) => reader.string());
  }

  async list(): Promise<DomainSummary[]> {
    const all = await domainStats(this.#connection, [], STATS.state | STATS.balloon, STATS_NOWAIT);
    return Promise.all(all.map((stats) => this.#summary(stats)));
  }

  async find(vm: string): Promise<Domain | undefined> {
    try {
      const write = (writer: XdrWriter) => writer.string(vm);
      const reference = await this.#connection.call('DOMAIN_LOOKUP_BY_NAME', write, readDomain);
      return new LibvirtDomain(this.#connection, reference);
    } catch (error) {
      if (isLibvirtError(error, LIBVIRT_ERROR.NO_DOMAIN)) return undefined;
      throw error;
    }
  }

  async prepare(
    options: MigrationOptions & HandshakeInput & { address?: string },
  ): Promise<{ cookie: Buffer; uri: string }> {
    // Without a port libvirt picks a free one, and says which.
    const wanted = options.address === undefined ? undefined : `tcp://${bracketed(options.address)}`;
    const { cookie, uri } = await this.#connection.call(
      'DOMAIN_MIGRATE_PREPARE3_PARAMS',
      (writer) =>
        writer
          .array(migrationParameters(options, wanted), writeTypedParameter)
          .opaque(options.cookie)
          .uint(destinationFlags(options)),
      (reader) => ({ cookie: reader.opaque(), uri: reader.optionalString() }),
      Number.POSITIVE_INFINITY,
    );
    if (uri !== undefined) return { cookie, uri };
    throw new HypervisorError(`${this.uri} prepared "${options.name}" without saying where it listens`, {
      answered: true,
    });
  }

  async finish(
    options: MigrationOptions & HandshakeInput & { uri: string; cancelled: boolean; inPostCopy?: boolean },
  ): Promise<{ cookie: Buffer }> {
    try {
      return await this.#connection.call(
        'DOMAIN_MIGRATE_FINISH3_PARAMS',
        (writer) =>
          writer
            .array(migrationParameters(options, options.uri), writeTypedParameter)
            .opaque(options.cookie)
            .uint(destinationFlags(options))
            .bool(options.cancelled),
        (reader) => {
          readDomain(reader);
          return { cookie: reader.opaque() };
        },
        // It answers only when the rest of the memory has come.
        options.inPostCopy === true ? Number.POSITIVE_INFINITY : undefined,
      );
    } catch (error) {
      // A cancelled migration has no domain to return, so libvirt answers even success with an error: its own code for
      // it, or, when clearing up left any other error behind, that one. Then only a look tells whether the copy is gone.
      const answered = error instanceof HypervisorError && error.answered;
      if (!options.cancelled || !answered) throw error;
      if (!isLibvirtError(error, LIBVIRT_ERROR.MIGRATE_FINISH_OK)) {
        const left = await (await this.find(options.name))?.state();
        if (left !== undefined && left.state !== 'shutoff' && left.state !== 'absent') throw error;
      }
      return { cookie: Buffer.alloc(0) };
    }
  }

  async #summary({ reference, values }: DomainStats): Promise<DomainSummary> {
    const domain = new LibvirtDomain(this.#connection, reference);
    const state = Number(values.get('state.state'));
    return {
      name: domain.name,
      uuid: domain.uuid,
      state: dependsOnJob(state)
        ? (await domain.state()).state
        : copyStateOf(state, Number(values.get('state.reason')), undefined),
      memoryMiB: Math.floor(Number(values.get('balloon.maximum')) / 1_024),
    };
  }

  #nodeMemory(count: number): Promise<{ count: number; kibibytes: Map<string, bigint> }> {
    const wholeNode = -1;
    return this.#connection.call(
      'NODE_GET_MEMORY_STATS',
      (writer) => writer.int(count).int(wholeNode).uint(0),
      (reader) => {
        const entries = reader.array(LIST_MAX.nodeMemoryStats, (item) => [item.string(), item.uhyper()] as const);
        return { kibibytes: new Map(entries), count: reader.int() };
      },
    );
  }
}

function writePlatform(writer: XdrWriter, guest: GuestPlatform): XdrWriter {
  return writer
    .optionalString(guest.emulator)
    .optionalString(guest.arch)
    .optionalString(guest.machine)
    .optionalString(guest.virtType);
}

function nothing(): void {}

/** As an address stands in a URI. */
function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
