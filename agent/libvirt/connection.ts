import type { Duplex } from 'node:stream';
import { HypervisorError } from '../hypervisor.ts';
import { readError } from './errors.ts';
import { encodeFrame, type Frame, FrameParser } from './frame.ts';
import { Keepalive } from './keepalive.ts';
import {
  callNumber,
  KEEPALIVE_PING,
  KEEPALIVE_PONG,
  KEEPALIVE_PROGRAM,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  type Procedure,
  QEMU_PROGRAM,
  type QemuProcedure,
  REMOTE_PROGRAM,
} from './protocol.ts';
import { XdrError, XdrReader, XdrWriter } from './xdr.ts';

export interface ConnectionOptions {
  /** For messages only. */
  uri: string;
  /** How long a call may take before its outcome counts as unknown, in ms. */
  callTimeoutMs: number;
  keepaliveIntervalMs: number;
  keepaliveCount: number;
}

interface Call {
  readonly procedure: Procedure | QemuProcedure;
  readonly frame: Buffer;
  /** Decodes the answer; throws, and leaves the call open, when it cannot be understood. */
  settle(status: number, body: XdrReader): void;
  fail(error: HypervisorError): void;
}

/**
 * Calls the daemon has not answered yet. libvirtd stops *reading* from a client that has max_client_requests (5 unless
 * configured) calls open, pings included, and so would look dead; one below it leaves room for them.
 */
const CALLS_IN_FLIGHT_MAX = 4;

/** Leave-taking is a courtesy; a daemon that does not answer it is left all the same. */
const CLOSE_TIMEOUT_MS = 1_000;

/**
 * One connection to a libvirt daemon: many calls at a time on one socket, matched to their answers by serial number.
 *
 * It fails as a whole: after a message that cannot be understood no later one can be trusted, so the socket is closed
 * and every call still open rejects with `answered: false`.
 */
export class Connection {
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;

  readonly #socket: Duplex;
  readonly #options: ConnectionOptions;
  readonly #parser = new FrameParser();
  readonly #keepalive: Keepalive;
  readonly #waiting = new Map<number, Call>();
  readonly #inFlight = new Map<number, Call>();
  #lastSerial = 0;
  #failure: Error | undefined;

  constructor(socket: Duplex, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    this.#keepalive = new Keepalive(options.keepaliveIntervalMs, options.keepaliveCount, {
      ping: () => this.#sendKeepalive(KEEPALIVE_PING),
      dead: (silentMs) => this.fail(new Error(`the daemon has been silent for ${silentMs} ms`)),
    });
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('end', () =>
      this.fail(new Error(this.#parser.pendingBytes === 0 ? 'the daemon closed it' : 'cut short')),
    );
    socket.on('close', () => this.fail(new Error('closed')));
  }

  /**
   * Calls a procedure. `write` encodes its arguments, `read` decodes its result.
   *
   * `timeoutMs` replaces the connection's own limit; Infinity waits as long as the daemon lives.
   *
   * @throws {HypervisorError} `answered: true` with libvirt's code when libvirt refused; `answered: false` when the
   * connection was lost or the time was over, and the call may or may not have taken effect.
   */
  async call<T>(
    procedure: Procedure | QemuProcedure,
    write: (writer: XdrWriter) => void,
    read: (reader: XdrReader) => T,
    timeoutMs = this.#options.callTimeoutMs,
  ): Promise<T> {
    const { uri } = this.#options;
    if (this.#failure !== undefined) throw this.#lost(`${procedure} was not sent: no connection to ${uri}`);
    const writer = new XdrWriter();
    write(writer);
    this.#lastSerial = (this.#lastSerial + 1) >>> 0;
    const serial = this.#lastSerial;
    const frame = encodeFrame({
      ...callNumber(procedure),
      type: MESSAGE_TYPE.call,
      serial,
      status: MESSAGE_STATUS.ok,
      body: writer.toBuffer(),
    });

    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (status: number, body: XdrReader) => {
      const answer = status === MESSAGE_STATUS.ok ? { value: read(body) } : { error: readError(procedure, body) };
      body.end();
      if ('value' in answer) resolve(answer.value);
      else reject(answer.error);
    };
    this.#waiting.set(serial, { procedure, frame, settle, fail: reject });
    this.#sendWaiting();
    if (timeoutMs === Number.POSITIVE_INFINITY) return promise;
    const timer = setTimeout(() => {
      const sent = !this.#waiting.delete(serial);
      const outcome = sent ? 'whether it took effect is unknown' : 'it was not sent';
      reject(
        new HypervisorError(`${uri} did not answer ${procedure} within ${timeoutMs} ms; ${outcome}`, {
          answered: false,
        }),
      );
    }, timeoutMs);
    return promise.finally(() => clearTimeout(timer));
  }

  /** Ends the connection. An idle one takes its leave, or the daemon would log an error for each that ends. */
  async close(): Promise<void> {
    if (this.#inFlight.size === 0) await this.call('CONNECT_CLOSE', nothing, nothing, CLOSE_TIMEOUT_MS).catch(nothing);
    this.fail(new Error('closed by this side'));
    await this.closed;
  }

  /** Cuts the connection; calls still open reject. Harmless when it is gone already. */
  fail(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#keepalive.stop();
    this.#socket.destroy();
    const { uri } = this.#options;
    for (const call of this.#waiting.values()) {
      call.fail(this.#lost(`${call.procedure} was not sent: the connection to ${uri} was lost`));
    }
    for (const call of this.#inFlight.values()) {
      call.fail(this.#lost(`lost the connection to ${uri}; whether ${call.procedure} took effect is unknown`));
    }
    this.#waiting.clear();
    this.#inFlight.clear();
  }

  #lost(message: string): HypervisorError {
    return new HypervisorError(`${message} (${this.#failure?.message})`, { answered: false, cause: this.#failure });
  }

  #sendWaiting(): void {
    for (const [serial, call] of this.#waiting) {
      if (this.#inFlight.size >= CALLS_IN_FLIGHT_MAX) return;
      this.#waiting.delete(serial);
      this.#inFlight.set(serial, call);
      this.#socket.write(call.frame);
    }
  }

  #sendKeepalive(procedure: number): void {
    const { ok: status } = MESSAGE_STATUS;
    const type = MESSAGE_TYPE.event;
    const body = Buffer.alloc(0);
    this.#socket.write(encodeFrame({ program: KEEPALIVE_PROGRAM, procedure, type, serial: 0, status, body }));
  }

  #receive(chunk: Buffer): void {
    this.#keepalive.heard();
    try {
      for (const frame of this.#parser.push(chunk)) this.#dispatch(frame);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.program === KEEPALIVE_PROGRAM) {
      if (frame.procedure === KEEPALIVE_PING) this.#sendKeepalive(KEEPALIVE_PONG);
      return;
    }
    if (frame.program !== REMOTE_PROGRAM && frame.program !== QEMU_PROGRAM)
      throw new XdrError(`a message of the unknown program ${frame.program}`);
    // Events come only to who registers for them, which this client never does; libvirt's own passes over strays, too.
    if (frame.type === MESSAGE_TYPE.event) return;
    if (frame.type !== MESSAGE_TYPE.reply)
      throw new XdrError(`a message of type ${frame.type}, which clients never get`);
    const call = this.#inFlight.get(frame.serial);
    if (call === undefined) throw new XdrError(`an answer to the unknown call ${frame.serial}`);
    const asked = callNumber(call.procedure);
    if (asked.program !== frame.program || asked.procedure !== frame.procedure)
      throw new XdrError(`${call.procedure} answered as ${frame.procedure}`);

    call.settle(frame.status, new XdrReader(frame.body));
    this.#inFlight.delete(frame.serial);
    this.#sendWaiting();
  }
}

function nothing(): void {}
