import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HandleWire, WireRequest, WireResponse } from './wire-format.ts';

export interface Listener {
  /** The port it listens on, at every address. */
  readonly port: number;
  /** Takes no more requests and resolves when those under way are answered. */
  close(): Promise<void>;
}

/** Another address may have the port taken that the first one picked. */
const TRIES_FOR_A_COMMON_PORT = 20;

/**
 * Serves the embedded AWS over HTTP at several addresses with one port; 0 picks a port that is free at all of them.
 * Fails with the system's error, such as EADDRINUSE, when an address can't be had.
 */
export async function listen(
  handleWire: HandleWire,
  { hosts, port }: { hosts: readonly string[]; port: number },
): Promise<Listener> {
  for (let attempt = 1; ; attempt += 1) {
    const servers: Server[] = [];
    try {
      let common = port;
      for (const host of hosts) {
        const server = await listenAt(handleWire, host, common);
        servers.push(server);
        common = (server.address() as AddressInfo).port;
      }
      return { port: common, close: async () => void (await Promise.all(servers.map(closed))) };
    } catch (error) {
      await Promise.all(servers.map(closed));
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!taken || port !== 0 || attempt === TRIES_FOR_A_COMMON_PORT) throw error;
    }
  }
}

function listenAt(handleWire: HandleWire, host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((request, response) => void serve(handleWire, server, request, response));
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

async function serve(
  handleWire: HandleWire,
  server: Server,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const request = await read(incoming).catch(() => undefined);
  if (!request) return; // The client has gone away in mid-request.
  const { status, headers, body } = await handleWire(request).catch(internalFailure);
  // A connection kept alive would hold up the closing of the server.
  if (!server.listening) outgoing.shouldKeepAlive = false;
  outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
}

function internalFailure(fault: unknown): WireResponse {
  console.error(fault);
  const body = JSON.stringify({ __type: 'InternalFailure', message: `The embedded AWS failed: ${fault}` });
  return { status: 500, headers: { 'content-type': 'application/json' }, body };
}

async function read(incoming: IncomingMessage): Promise<WireRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const [path = '/', query = ''] = (incoming.url ?? '/').split(/\?(.*)/s);
  const headers = Object.fromEntries(
    Object.entries(incoming.headers).map(([name, value]) => [name, [value ?? ''].flat().join(',')]),
  );
  return { method: incoming.method ?? 'GET', path, query, headers, body: Buffer.concat(chunks).toString() };
}
