import { type HypervisorConnection, HypervisorError } from '../hypervisor.ts';
import { Connection } from './connection.ts';
import { LibvirtHypervisor } from './hypervisor.ts';
import { AUTH_TYPES, FEATURE_PROGRAM_KEEPALIVE, LIST_MAX } from './protocol.ts';
import { openTransport } from './transport.ts';
import { parseLibvirtUri } from './uri.ts';
import type { XdrReader, XdrWriter } from './xdr.ts';

export interface LibvirtOptions {
  /** For opening the socket, and for each call of the opening handshake. Default 10,000. */
  connectTimeoutMs?: number;
  /**
   * For every call but Prepare and Perform, which take as long as QEMU's start and the copy do; the keepalive guards
   * those. Default 60,000, because Confirm returns only when the source's QEMU is gone and has freed its memory.
   */
  callTimeoutMs?: number;
  /** Default 5,000, libvirt's own. A dead peer is found within `keepaliveIntervalMs * (keepaliveCount + 1)`. */
  keepaliveIntervalMs?: number;
  /** Default 5, libvirt's own. */
  keepaliveCount?: number;
}

/**
 * Connects to a host's libvirt daemon. See `parseLibvirtUri` for the URIs it takes.
 *
 * @throws {TypeError} for a URI that is not supported.
 * @throws {HypervisorError} when the daemon cannot be reached or does not let us in.
 *
 * @example
 * const source = await connectLibvirt('qemu:///system');
 * const vm = await source.find('web01');
 */
export async function connectLibvirt(uri: string, options: LibvirtOptions = {}): Promise<HypervisorConnection> {
  const {
    connectTimeoutMs = 10_000,
    callTimeoutMs = 60_000,
    keepaliveIntervalMs = 5_000,
    keepaliveCount = 5,
  } = options;
  const address = parseLibvirtUri(uri);
  const socket = await openTransport(address, connectTimeoutMs);
  const connection = new Connection(socket, { uri, callTimeoutMs, keepaliveIntervalMs, keepaliveCount });
  try {
    await authenticate(connection, uri, connectTimeoutMs);
    await startKeepalive(connection, uri, connectTimeoutMs);
    const write = (writer: XdrWriter) => writer.optionalString(address.driver).uint(0);
    await connection.call('CONNECT_OPEN', write, nothing, connectTimeoutMs);
  } catch (error) {
    connection.fail(new Error('the connection was not opened'));
    throw error;
  }
  return new LibvirtHypervisor(connection, uri);
}

/** A daemon that wants no authentication offers "none" alone; nothing else is supported. */
async function authenticate(connection: Connection, uri: string, timeoutMs: number): Promise<void> {
  const read = (reader: XdrReader) => reader.array(LIST_MAX.authTypes, (item) => item.int());
  const types = await connection.call('AUTH_LIST', nothing, read, timeoutMs);
  if (types.includes(AUTH_TYPES.indexOf('none'))) return;
  const names = types.map((type) => AUTH_TYPES[type] ?? `type ${type}`).join(', ');
  throw new HypervisorError(
    `${uri} wants authentication (${names}), which is not supported; set auth_tcp or auth_unix_rw to "none" in libvirtd.conf`,
    { answered: true },
  );
}

/** Asking for the feature also makes the daemon ping us, so that it finds out, too, when this side is gone. */
async function startKeepalive(connection: Connection, uri: string, timeoutMs: number): Promise<void> {
  const write = (writer: XdrWriter) => writer.int(FEATURE_PROGRAM_KEEPALIVE);
  const supported = await connection.call('CONNECT_SUPPORTS_FEATURE', write, (reader) => reader.int(), timeoutMs);
  if (supported === 1) return;
  throw new HypervisorError(`${uri} has no keepalive, so its death could not be told from its silence`, {
    answered: true,
  });
}

function nothing(): void {}
