/**
 * A user of a guest who waits for each answer before the next request, as people and most programs do; run as a program on the
 * lab's client: node request-client.ts <address> <port> <pause between answer and next request in ms>
 *
 * Writes "ready" at the first answer; on SIGTERM it writes when each answer came, in ms since the epoch, as one line of JSON.
 */
import { createConnection } from 'node:net';

const [address, port, pause] = process.argv.slice(2);
const answeredAt: number[] = [];

const socket = createConnection({ host: address ?? '', port: Number(port), noDelay: true });
const ask = () => socket.write('request\n');
const say = () => process.stdout.write(`${JSON.stringify(answeredAt)}\n`, () => process.exit(0));

let ended = false;
process.on('SIGTERM', say);
socket.on('connect', ask);
socket.on('data', (chunk: Buffer) => {
  if (!chunk.includes(0x0a)) return;
  if (answeredAt.push(Date.now()) === 1) process.stdout.write('ready\n');
  setTimeout(ask, Number(pause));
});
socket.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  end();
});
socket.on('close', end);

/** After a lost connection the answers so far are still reported, unless there are none. */
function end(): void {
  if (ended) return;
  ended = true;
  if (answeredAt.length === 0) process.exit(1);
  // Keeps the process alive until SIGTERM.
  setInterval(() => {}, 60_000);
}
