import { connect, createServer, type Server, type Socket } from 'node:net';
import { encodeFrame, type Frame, FrameParser } from '../../agent/libvirt/frame.ts';
import { MESSAGE_TYPE, PROCEDURES, type Procedure, REMOTE_PROGRAM } from '../../agent/libvirt/protocol.ts';

/** What happens to a message: it is passed on, or dropped (the receiver sees a silent peer). */
export type Fate = 'pass' | 'swallow';
export type Direction = 'call' | 'reply';
export type Rule = (direction: Direction, procedure: Procedure) => Fate | Promise<Fate>;

const PASS_ALL: Rule = () => 'pass';
const NAMES = new Map<number, Procedure>(
  Object.entries(PROCEDURES).map(([name, number]) => [number, name as Procedure]),
);

/**
 * A proxy between a libvirt client and a daemon that holds or drops messages by their procedure: so a test can act at an exact point of
 * the handshake, such as "Finish has been carried out and its answer not yet received".
 */
export class MessageRelay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #rule: Rule = PASS_ALL;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Both ends use the address `listen`: a host that cannot reach that address has no connection through the relay. */
  static async start(listen: string, upstream: string, port = 16_509): Promise<MessageRelay> {
    const server = createServer();
    const relay = new MessageRelay(server);
    server.on('connection', (client) => {
      relay.#serve(client, connect({ host: upstream, port, localAddress: listen }));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, listen, resolve);
    });
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay is closed');
    return address.port;
  }

  /** Applies this rule to every message from now on; messages of one connection and direction keep their order. */
  rule(rule: Rule = PASS_ALL): void {
    this.#rule = rule;
  }

  /** Cuts every connection, as a failing network does. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    this.rule();
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket, daemon: Socket): void {
    this.#pump('call', client, daemon);
    this.#pump('reply', daemon, client);
  }

  #pump(direction: Direction, from: Socket, to: Socket): void {
    this.#sockets.add(from);
    const parser = new FrameParser();
    let turn: Promise<void> = Promise.resolve();
    from.on('data', (chunk) => {
      const frames = [...parser.push(chunk)];
      turn = turn.then(async () => {
        for (const frame of frames) {
          if ((await this.#fateOf(direction, frame)) === 'pass' && !to.destroyed) to.write(encodeFrame(frame));
        }
      });
    });
    const end = () => {
      this.#sockets.delete(from);
      // What is still to be passed on goes first.
      void turn.then(() => to.destroy());
    };
    from.on('close', end);
    from.on('error', end);
  }

  #fateOf(direction: Direction, frame: Frame): Fate | Promise<Fate> {
    const expected = direction === 'call' ? MESSAGE_TYPE.call : MESSAGE_TYPE.reply;
    if (frame.program !== REMOTE_PROGRAM || frame.type !== expected) return 'pass';
    const name = NAMES.get(frame.procedure);
    return name === undefined ? 'pass' : this.#rule(direction, name);
  }
}
