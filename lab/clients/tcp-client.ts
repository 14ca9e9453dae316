/**
 * A user of a guest, run as a program on the lab's client: node tcp-client.ts <address> <port> <interval in ms>
 *
 * Sends numbered requests over one connection and checks every answer. Writes "ready" at the first answer; on SIGTERM it
 * sends no more requests, waits for the answers that are due and writes a TcpResult as one line of JSON.
 */
import { createConnection } from 'node:net';

export interface TcpResult {
  /** Whether the one connection was there from the first request to the last answer. */
  survived: boolean;
  /** Why not. */
  error?: string;
  sent: number;
  answered: number;
  /** Requests that never got an answer. */
  lost: number;
  /** Answers that were not the one expected next: doubled, out of order or garbled. */
  wrong: number;
  bytesSent: number;
  /** Of the requests that never got an answer. */
  bytesLost: number;
  bytesReceived: number;
  /** The longest time between two answers that followed each other, in ms. */
  longestGapMs: number;
  /** When the longest gap began, in ms since the epoch. */
  longestGapAt: number;
}

/** TCP tries again after 0.2, 0.4, 0.8 ... s: this long covers a blackout of several seconds. */
const PATIENCE_MS = 10_000;

const [address, port, interval] = process.argv.slice(2);
const result: TcpResult = {
  survived: true,
  sent: 0,
  answered: 0,
  lost: 0,
  wrong: 0,
  bytesSent: 0,
  bytesLost: 0,
  bytesReceived: 0,
  longestGapMs: 0,
  longestGapAt: Date.now(),
};
let stopping = false;
let unread = '';
let lastAnswer: number | undefined;

const socket = createConnection({ host: address ?? '', port: Number(port), noDelay: true });
const asking = setInterval(() => {
  const request = requestOf(result.sent);
  socket.write(request);
  result.sent += 1;
  result.bytesSent += request.length;
}, Number(interval));

socket.on('data', (chunk: Buffer) => {
  result.bytesReceived += chunk.length;
  const lines = (unread + chunk.toString('utf8')).split('\n');
  unread = lines.pop() ?? '';
  for (const line of lines) take(line);
  if (stopping && result.answered === result.sent) finish();
});
socket.on('error', (error) => fail(error.message));
socket.on('close', () => fail('the guest closed the connection'));
process.on('SIGTERM', () => {
  stopping = true;
  clearInterval(asking);
  if (result.answered === result.sent) finish();
  setTimeout(finish, PATIENCE_MS);
});

function requestOf(number: number): string {
  return `request-${number}\n`;
}

/** The guest answers with its own count, its uptime, and the request. */
function take(line: string): void {
  const [count, , request] = line.split(' ');
  if (Number(count) !== result.answered || request !== `request-${result.answered}`) result.wrong += 1;
  result.answered += 1;
  const now = performance.now();
  if (lastAnswer === undefined) process.stdout.write('ready\n');
  else if (now - lastAnswer > result.longestGapMs) {
    result.longestGapMs = now - lastAnswer;
    result.longestGapAt = Date.now() - result.longestGapMs;
  }
  lastAnswer = now;
}

function fail(error: string): void {
  result.survived = false;
  result.error ??= error;
  clearInterval(asking);
  // Before the first answer there is nothing to measure; afterwards the result is kept until SIGTERM asks for it.
  if (lastAnswer === undefined) {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  }
  if (stopping) finish();
}

function finish(): void {
  result.lost = result.sent - result.answered;
  for (let number = result.answered; number < result.sent; number++) result.bytesLost += requestOf(number).length;
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
