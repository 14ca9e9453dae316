import { randomBytes } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Measures the bandwidth between two hosts, over one TCP connection between their agents, as QEMU's stream will use it. The receiver
 * computes the rate, because bytes that the sender has written may still lie in buffers. The first bytes are not counted: they use the
 * burst allowance of a traffic shaper, and TCP has not reached its speed yet.
 *
 * The first line names the migration; a connection that sends anything else is closed. The receiver holds the port until its test is
 * over, so that no two tests run at once and measure each other. A receiver whose own sender has not connected within a second
 * releases the port for a moment when the sender of another test connects: its own may never come, because the migration was cancelled
 * between the two tasks, and the other migration's test would wait for the whole of this one's patience.
 */

/** The last of libvirt's migration ports (migration_port_max): firewalls that allow migrations allow it, and migrations use it last. */
export const LINK_TEST_PORT = 49_215;

const WARM_UP_MS = 150;
const MEASURE_MS = 250;
/** Sufficient for a rate when the sender ends early. */
const LEAST_MEASURE_MS = 50;
/** After this time the sender ends the test, also without an answer. */
const MOST_MS = 1_000;
const MOST_BYTES = 4 * 1024 ** 3;
/** A peer that is silent for so long is considered gone. */
const SILENCE_MS = 2_000;
const AGAIN_MS = 100;
/** A sender that is there retries several times within this time. */
const OWN_TURN_MS = 10 * AGAIN_MS;
/** Long enough for a waiting receiver to bind the port. */
const YIELD_MS = 3 * AGAIN_MS;
const CHUNK = 256 * 1024;
const FIRST_LINE_MAX = 128;
const GREETING = 'handoff-link-test';

const firstLine = (name: string): string => `${GREETING} ${name}\n`;

export interface LinkTest {
  port: number;
  /** Known to both ends and to nobody else. */
  name: string;
  /** How long to wait for the other end: the two begin at different times, and tests run one at a time. */
  patienceMs: number;
}

export type LinkResult = { bytesPerSecond: number } | { why: string };

/** Waits for one test and answers it. Resolves when the test is over or no sender came; never rejects. */
export async function receiveLinkTest({ port, name, patienceMs }: LinkTest): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const server = await listen(port, deadline);
    if (server === undefined || (await serve(server, name, deadline)) === 'over') return;
    await pause(YIELD_MS);
  }
}

/** Returns when the test is over, when the deadline has passed, or when another test's sender connected and its own did not. */
async function serve(server: Server, name: string, deadline: number): Promise<'over' | 'yielded'> {
  const sockets = new Set<Socket>();
  const ownUntil = performance.now() + OWN_TURN_MS;
  let testing: Socket | undefined;
  const how = await new Promise<'over' | 'yielded'>((resolve) => {
    const timer = setTimeout(() => resolve('over'), Math.max(0, deadline - performance.now()));
    const end = (end: 'over' | 'yielded') => {
      clearTimeout(timer);
      resolve(end);
    };
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.setTimeout(SILENCE_MS, () => socket.destroy());
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      receive(socket, name, {
        mine: () => {
          testing = socket;
          socket.once('close', () => {
            testing = undefined;
          });
        },
        another: () => {
          if (testing === undefined && performance.now() > ownUntil) end('yielded');
        },
        over: () => end('over'),
      });
    });
  });
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  return how;
}

/** Connects, with retries until the receiver is there, sends, and returns the receiver's measurement. Never rejects. */
export async function sendLinkTest(host: string, { port, name, patienceMs }: LinkTest): Promise<LinkResult> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const outcome = await send(host, port, name);
    if ('bytesPerSecond' in outcome || performance.now() + AGAIN_MS > deadline) return outcome;
    await again();
  }
}

/** Retries while another preflight's test has the port. */
async function listen(port: number, deadline: number): Promise<Server | undefined> {
  for (;;) {
    // The answer is sent also after the sender has ended its side.
    const server = createServer({ allowHalfOpen: true });
    const listening = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      // On all addresses, as QEMU does: the address that peers use may not be configured on this host.
      server.listen(port, () => resolve(true));
    });
    if (listening) return server;
    if (performance.now() + AGAIN_MS > deadline) return undefined;
    await again();
  }
}

/** Calls `mine` or `another` once the first line has named the test, and `over` once the other end has the answer. */
function receive(
  socket: Socket,
  name: string,
  { mine, another, over }: Record<'mine' | 'another' | 'over', () => void>,
): void {
  const expected = firstLine(name);
  let head: string | undefined = '';
  let bytes = 0;
  let firstAt: number | undefined;
  let from: { at: number; bytes: number } | undefined;

  const answer = () => {
    const now = performance.now();
    if (from === undefined || now - from.at < LEAST_MEASURE_MS) return socket.destroy();
    const bytesPerSecond = Math.round(((bytes - from.bytes) / (now - from.at)) * 1_000);
    socket.removeListener('data', take);
    socket.resume();
    socket.end(`${JSON.stringify({ bytesPerSecond })}\n`);
    socket.once('close', over);
  };
  const take = (chunk: Buffer) => {
    if (head !== undefined) {
      head += chunk.subarray(0, FIRST_LINE_MAX).toString('latin1');
      if (head.length < expected.length && expected.startsWith(head)) return;
      if (!head.startsWith(expected)) {
        socket.destroy();
        if (head.startsWith(`${GREETING} `)) another();
        return;
      }
      head = undefined;
      mine();
    }
    const now = performance.now();
    bytes += chunk.length;
    firstAt ??= now;
    if (from === undefined && now - firstAt >= WARM_UP_MS) from = { at: now, bytes };
    else if (from !== undefined && now - from.at >= MEASURE_MS) answer();
  };
  socket.on('data', take);
  socket.once('end', answer);
}

function send(host: string, port: number, name: string): Promise<LinkResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: SILENCE_MS });
    const chunk = randomBytes(CHUNK);
    let begun = 0;
    let answer = '';
    let why = 'the destination ended the test before it could answer';
    const write = () => {
      if (socket.destroyed) return;
      if (performance.now() - begun > MOST_MS || socket.bytesWritten > MOST_BYTES) socket.end();
      else if (socket.write(chunk)) setImmediate(write);
    };
    socket.once('connect', () => {
      begun = performance.now();
      socket.write(firstLine(name));
      write();
    });
    socket.on('drain', write);
    socket.on('data', (data) => {
      answer += data.toString('latin1');
      if (answer.includes('\n')) socket.destroy();
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', (error) => {
      why = error.message;
    });
    socket.once('close', () => {
      const measured = /^\{"bytesPerSecond":(\d+)\}\n/.exec(answer)?.[1];
      resolve(measured === undefined ? { why } : { bytesPerSecond: Number(measured) });
    });
  });
}

/** At random intervals, so that two senders that wait do not retry in step. */
const again = (): Promise<void> => pause(AGAIN_MS * (0.5 + Math.random()));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
