import { chmod, mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Mover, MoverStatus } from './mover.ts';

/**
 * How the short commands that SSM runs talk to the mover: one JSON object a line, one answer a line, over a unix socket that
 * only root can open.
 */
const Request = z.discriminatedUnion('command', [
  z.strictObject({ command: z.literal('cutover'), requestId: z.string() }),
  z.strictObject({ command: z.literal('status') }),
]);
export type ControlRequest = z.infer<typeof Request>;
export type ControlAnswer = ({ ok: true } & MoverStatus) | { ok: false; error: string };

export const ANSWER_TIMEOUT_MS = 5_000;

/** No socket, no process that listens on it, or a mover that died while it was asked. */
const GONE = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'];

export async function listenForControl(path: string, mover: Pick<Mover, 'cutover' | 'status'>): Promise<Server> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // A socket that a killed mover left behind.
  await rm(path, { force: true });
  const server = createServer((socket) => serve(socket, mover));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

function serve(socket: Socket, mover: Pick<Mover, 'cutover' | 'status'>): void {
  socket.on('error', () => {});
  linesOf(socket).on('line', (line) => socket.write(`${JSON.stringify(answer(line, mover))}\n`));
}

function answer(line: string, mover: Pick<Mover, 'cutover' | 'status'>): ControlAnswer {
  let request: ControlRequest;
  try {
    request = Request.parse(JSON.parse(line));
  } catch {
    return { ok: false, error: `not a request: ${line.slice(0, 200)}` };
  }
  if (request.command === 'cutover') mover.cutover(request.requestId);
  return { ok: true, ...mover.status() };
}

/** A line reader repeats its socket's errors; they are handled where the socket is. */
function linesOf(socket: Socket) {
  return createInterface({ input: socket }).on('error', () => {});
}

/** Asks a mover; undefined when no mover listens there. Rejects when one listens but does not answer. */
export function askMover(path: string, request: ControlRequest): Promise<ControlAnswer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => {
      socket.destroy(new Error(`the mover at ${path} does not answer`));
    });
    socket.on('error', (error: NodeJS.ErrnoException) =>
      GONE.includes(error.code ?? '') ? resolve(undefined) : reject(error),
    );
    socket.on('close', () => reject(new Error(`the mover at ${path} hung up without an answer`)));
    linesOf(socket).once('line', (line) => {
      resolve(JSON.parse(line) as ControlAnswer);
      socket.destroy();
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
