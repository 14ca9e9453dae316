import { PROTOCOL_VERSION } from './protocol.ts';
import { XdrError } from './xdr.ts';

/** One message: a header of seven four-byte words, the first of which is the message's whole length, and a body. */
export interface Frame {
  program: number;
  procedure: number;
  type: number;
  serial: number;
  status: number;
  body: Buffer;
}

export const HEADER_BYTES = 28;
/** VIR_NET_MESSAGE_MAX plus the length word it does not count. */
export const FRAME_MAX_BYTES = 33_554_432 + 4;

export function encodeFrame(frame: Frame): Buffer {
  const length = HEADER_BYTES + frame.body.length;
  if (length > FRAME_MAX_BYTES) throw new RangeError(`libvirt takes messages of at most ${FRAME_MAX_BYTES} bytes`);
  const bytes = Buffer.alloc(length);
  const words = [length, frame.program, PROTOCOL_VERSION, frame.procedure, frame.type, frame.serial, frame.status];
  words.forEach((word, index) => {
    bytes.writeUInt32BE(word, index * 4);
  });
  frame.body.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** Cuts the byte stream of a socket into frames. After it has thrown an XdrError, the stream has no known boundaries. */
export class FrameParser {
  #chunks: Buffer[] = [];
  #buffered = 0;

  /** Takes what the socket gave and yields the frames that are complete by now. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    for (;;) {
      const length = this.#nextLength();
      if (length === undefined || this.#buffered < length) return;
      yield decodeFrame(this.#take(length));
    }
  }

  /** Bytes of a frame whose rest has not come yet. */
  get pendingBytes(): number {
    return this.#buffered;
  }

  #nextLength(): number | undefined {
    if (this.#buffered < 4) return undefined;
    // Usually the first chunk holds the length word; joining only the first few bytes keeps large frames linear.
    if (this.#chunks[0]!.length < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = this.#chunks[0]!.readUInt32BE();
    if (length < HEADER_BYTES || length > FRAME_MAX_BYTES) {
      throw new XdrError(
        `a message of ${length} bytes is impossible (${HEADER_BYTES} to ${FRAME_MAX_BYTES} are allowed)`,
      );
    }
    return length;
  }

  #take(length: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    const rest = all.subarray(length);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#buffered = rest.length;
    return all.subarray(0, length);
  }
}

function decodeFrame(bytes: Buffer): Frame {
  const word = (index: number) => bytes.readUInt32BE(index * 4);
  if (word(2) !== PROTOCOL_VERSION) throw new XdrError(`protocol version ${word(2)}, not ${PROTOCOL_VERSION}`);
  return {
    program: word(1),
    procedure: word(3),
    type: word(4),
    serial: word(5),
    status: word(6),
    body: bytes.subarray(HEADER_BYTES),
  };
}
