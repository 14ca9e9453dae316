import { existsSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { HypervisorError } from '../hypervisor.ts';
import type { LibvirtAddress } from './uri.ts';

/**
 * Opens the byte stream to a daemon. TLS, once supported, is a third branch here and a third kind in uri.ts: libvirt
 * speaks the same protocol inside the TLS session, after one byte by which the daemon says that it took the certificate.
 *
 * @throws {HypervisorError} when the daemon cannot be reached within the time.
 */
export async function openTransport(address: LibvirtAddress, timeoutMs: number): Promise<Socket> {
  const { transport } = address;
  const where =
    transport.kind === 'unix'
      ? { path: transport.paths.find((path) => existsSync(path)) ?? transport.paths[0]! }
      : { host: transport.host, port: transport.port };
  const socket = createConnection({ ...where, noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
  socket.once('connect', resolve).once('error', reject);
  try {
    await promise;
    return socket;
  } catch (error) {
    socket.destroy();
    const target = 'path' in where ? where.path : `${where.host}:${where.port}`;
    throw new HypervisorError(`libvirt at ${target} cannot be reached: ${(error as Error).message}`, {
      answered: false,
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    socket.off('connect', resolve).off('error', reject);
    // A socket that was given up may still report its error; nobody is to crash for it.
    if (socket.destroyed) socket.on('error', () => {});
  }
}
