import { createConnection, createServer, type Socket } from 'node:net';

/** A TCP relay to a libvirt daemon that a test can cut, as a SIGKILL of the client or a failing link does. */
export interface Relay {
  /** The daemon's URI by way of the relay. */
  uri: string;
  cut(): void;
  /** Passes on the client's next message, and cuts before the answer. */
  cutAfterNextCall(): void;
  close(): void;
}

/** Relays to libvirtd's TCP port at `address`. */
export async function relayTo(address: string): Promise<Relay> {
  const sockets = new Set<Socket>();
  let cutNext = false;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    const daemon = createConnection(16_509, address);
    for (const socket of [client, daemon]) {
      sockets.add(socket);
      // When one end closes, so does the other.
      socket.on('error', cut).on('close', cut);
    }
    client.on('data', (chunk) => {
      daemon.write(chunk, () => {
        if (cutNext) cut();
      });
    });
    daemon.on('data', (chunk) => {
      if (!cutNext) client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    uri: `qemu+tcp://127.0.0.1:${port}/system`,
    cut,
    cutAfterNextCall: () => {
      cutNext = true;
    },
    close: () => {
      cut();
      server.close();
    },
  };
}
