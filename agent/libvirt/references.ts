import type { XdrReader, XdrWriter } from './xdr.ts';

/** How libvirt's messages name a domain. The daemon looks it up by its UUID alone. */
export interface DomainReference {
  name: string;
  /** 16 bytes. */
  uuid: Buffer;
  /** Its number while it runs, else -1. */
  id: number;
}

export interface NetworkReference {
  name: string;
  uuid: Buffer;
}

const UUID_BYTES = 16;

export function writeDomain(writer: XdrWriter, domain: DomainReference): void {
  writer.string(domain.name).fixedOpaque(domain.uuid).int(domain.id);
}

export function readDomain(reader: XdrReader): DomainReference {
  return { name: reader.string(), uuid: reader.fixedOpaque(UUID_BYTES), id: reader.int() };
}

export function writeNetwork(writer: XdrWriter, network: NetworkReference): void {
  writer.string(network.name).fixedOpaque(network.uuid);
}

export function readNetwork(reader: XdrReader): NetworkReference {
  return { name: reader.string(), uuid: reader.fixedOpaque(UUID_BYTES) };
}

/** The UUID as people and libvirt's XML write it. */
export function formatUuid(uuid: Buffer): string {
  return uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
