import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { receiveLinkTest, sendLinkTest } from '../../../../agent/host/link-test.ts';
import { MIB } from '../../../../common/units.ts';

describe('the link test', () => {
  const LOCAL = '127.0.0.1';
  const test = (port: number, patienceMs = 10_000) => ({ port, name: 'web-1', patienceMs });

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, LOCAL);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    return port;
  }

  it('measures over a real connection, whichever end comes first', async () => {
    const port = await freePort();
    const sent = sendLinkTest(LOCAL, test(port));
    await new Promise((resolve) => setTimeout(resolve, 250));
    await receiveLinkTest(test(port));
    const result = await sent;
    expect(result).toEqual({ bytesPerSecond: expect.any(Number) });
    expect('bytesPerSecond' in result && result.bytesPerSecond).toBeGreaterThan(MIB);
  });

  it('cuts strangers off, and takes the one it waits for afterwards', async () => {
    const port = await freePort();
    const received = receiveLinkTest(test(port));
    const says = async (line: string): Promise<void> => {
      const socket = connect(port, LOCAL);
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.write(line);
      socket.resume();
      await once(socket, 'close');
    };
    await says('GET / HTTP/1.1\r\n\r\n');
    await says('handoff-link-test web-2\n');
    expect(await sendLinkTest(LOCAL, { ...test(port, 0), name: 'web-2' })).toEqual({ why: expect.any(String) });
    expect(await sendLinkTest(LOCAL, test(port))).toEqual({ bytesPerSecond: expect.any(Number) });
    await received;
  });

  it('lets others go first while its own sender does not come', async () => {
    const port = await freePort();
    const others = ['web-2', 'web-3'].map((name) => ({ ...test(port), name }));
    const waiting = receiveLinkTest(test(port));
    await Promise.all(
      others.map(async (other) => {
        const received = receiveLinkTest(other);
        expect(await sendLinkTest(LOCAL, other)).toEqual({ bytesPerSecond: expect.any(Number) });
        await received;
      }),
    );
    expect(await sendLinkTest(LOCAL, test(port))).toEqual({ bytesPerSecond: expect.any(Number) });
    await waiting;
  });

  it('waits while the port is taken, and gives up in time on either end', async () => {
    const port = await freePort();
    const other = createServer((socket) => socket.destroy()).listen(port);
    await once(other, 'listening');
    // Ends, which is all it has to do.
    await receiveLinkTest(test(port, 300));
    expect(await sendLinkTest(LOCAL, test(port, 300))).toEqual({ why: expect.any(String) });
    const received = receiveLinkTest(test(port));
    const sent = sendLinkTest(LOCAL, test(port));
    other.close();
    await once(other, 'close');
    expect(await sent).toEqual({ bytesPerSecond: expect.any(Number) });
    await received;
  });
});
