import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFrame, type Frame, FrameParser } from '../../../../agent/libvirt/frame.ts';
import {
  callNumber,
  KEEPALIVE_PROGRAM,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROCEDURES,
  type Procedure,
  QEMU_PROCEDURES,
  QEMU_PROGRAM,
  type QemuProcedure,
} from '../../../../agent/libvirt/protocol.ts';
import { XdrWriter } from '../../../../agent/libvirt/xdr.ts';

/** A call as the daemon got it, to be answered now, later, wrongly or never. */
export interface ReceivedCall {
  frame: Frame;
  socket: Socket;
  succeed(write?: (writer: XdrWriter) => void): void;
  refuse(code: number, message: string): void;
}

type Handler = (call: ReceivedCall) => void;

/** A daemon on a real unix socket that lets clients in and does with their calls what a test says. */
export class FakeDaemon {
  readonly pings: number[] = [];
  readonly pongs: number[] = [];
  readonly calls: string[] = [];
  readonly #handlers = new Map<string, Handler>();
  readonly #server: Server;
  readonly #folder: string;
  readonly #sockets = new Set<Socket>();

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer((socket) => this.#serve(socket));
    this.on('AUTH_LIST', (call) => call.succeed((writer) => writer.array([0], (item, type) => item.int(type))));
    this.on('CONNECT_SUPPORTS_FEATURE', (call) => call.succeed((writer) => writer.int(1)));
    this.on('CONNECT_OPEN', (call) => call.succeed());
    this.on('CONNECT_CLOSE', (call) => call.succeed());
  }

  static async start(): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(await mkdtemp(join(tmpdir(), 'fake-libvirtd-')));
    await new Promise<void>((resolve) => daemon.#server.listen(daemon.#path, resolve));
    return daemon;
  }

  get uri(): string {
    return `qemu+unix:///system?socket=${this.#path}`;
  }

  get #path(): string {
    return join(this.#folder, 'libvirt-sock');
  }

  on(procedure: Procedure | QemuProcedure, handler: Handler): void {
    this.#handlers.set(keyOf(callNumber(procedure)), handler);
  }

  /** Sends bytes to every client as they are. */
  send(bytes: Buffer): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.drop();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const parser = new FrameParser();
    socket.on('data', (chunk: Buffer) => {
      for (const frame of parser.push(chunk)) this.#take(frame, socket);
    });
  }

  #take(frame: Frame, socket: Socket): void {
    if (frame.program === KEEPALIVE_PROGRAM) {
      (frame.procedure === 1 ? this.pings : this.pongs).push(frame.serial);
      return;
    }
    const names = frame.program === QEMU_PROGRAM ? QEMU_PROCEDURES : PROCEDURES;
    this.calls.push(Object.entries(names).find(([, number]) => number === frame.procedure)?.[0] ?? 'unknown');
    const answer = (status: number, write: (writer: XdrWriter) => void) => {
      const writer = new XdrWriter();
      write(writer);
      if (!socket.destroyed) socket.write(replyFrame(frame, { status, body: writer.toBuffer() }));
    };
    this.#handlers.get(keyOf(frame))?.({
      frame,
      socket,
      succeed: (write = () => {}) => answer(MESSAGE_STATUS.ok, write),
      refuse: (code, message) => answer(MESSAGE_STATUS.error, (writer) => writeError(writer, code, message)),
    });
  }
}

/** The answer to a call, with whatever a test wants different about it. */
export function replyFrame(call: Frame, changes: Partial<Frame> = {}): Buffer {
  const type = MESSAGE_TYPE.reply;
  return encodeFrame({ ...call, type, body: Buffer.alloc(0), ...changes });
}

const keyOf = ({ program, procedure }: Pick<Frame, 'program' | 'procedure'>): string => `${program}.${procedure}`;

function writeError(writer: XdrWriter, code: number, message: string): void {
  writer.int(code).int(10).optionalString(message).int(2).bool(false);
  writer.optionalString(message).optionalString(undefined).optionalString(undefined).int(-1).int(-1).bool(false);
}
