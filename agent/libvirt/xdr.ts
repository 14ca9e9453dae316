/**
 * XDR (RFC 4506), the encoding of libvirt's messages: big-endian units of four bytes, strings and opaque data padded to
 * a multiple of four. Only the types that libvirt's calls use are here.
 */

/** Longest string or opaque libvirt sends or takes (REMOTE_STRING_MAX, REMOTE_MIGRATE_COOKIE_MAX), in bytes. */
export const BYTES_MAX = 4_194_304;

/** What was received is not what the protocol says; nothing after it can be trusted. */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

export class XdrWriter {
  readonly #parts: Buffer[] = [];

  int(value: number): this {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    return this.#append(part);
  }

  uint(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32BE(value);
    return this.#append(part);
  }

  hyper(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigInt64BE(value);
    return this.#append(part);
  }

  uhyper(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64BE(value);
    return this.#append(part);
  }

  double(value: number): this {
    const part = Buffer.alloc(8);
    part.writeDoubleBE(value);
    return this.#append(part);
  }

  bool(value: boolean): this {
    return this.int(value ? 1 : 0);
  }

  /** Opaque data of a length both sides know, such as a UUID. */
  fixedOpaque(value: Buffer): this {
    return this.#append(value).#append(Buffer.alloc(paddingOf(value.length)));
  }

  opaque(value: Buffer): this {
    if (value.length > BYTES_MAX) {
      throw new RangeError(`libvirt takes at most ${BYTES_MAX} bytes in one field, not ${value.length}`);
    }
    return this.uint(value.length).fixedOpaque(value);
  }

  string(value: string): this {
    return this.opaque(Buffer.from(value, 'utf8'));
  }

  optionalString(value: string | undefined): this {
    return value === undefined ? this.bool(false) : this.bool(true).string(value);
  }

  array<T>(values: readonly T[], write: (writer: XdrWriter, value: T) => void): this {
    this.uint(values.length);
    for (const value of values) write(this, value);
    return this;
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #append(part: Buffer): this {
    this.#parts.push(part);
    return this;
  }
}

/** Reads one message's body; every method throws an XdrError when the bytes cannot be what was asked for. */
export class XdrReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int(): number {
    return this.#take(4).readInt32BE();
  }

  uint(): number {
    return this.#take(4).readUInt32BE();
  }

  hyper(): bigint {
    return this.#take(8).readBigInt64BE();
  }

  uhyper(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  double(): number {
    return this.#take(8).readDoubleBE();
  }

  bool(): boolean {
    const value = this.int();
    if (value !== 0 && value !== 1) throw new XdrError(`a boolean must be 0 or 1, not ${value}`);
    return value === 1;
  }

  fixedOpaque(length: number): Buffer {
    const value = this.#take(length);
    this.#take(paddingOf(length));
    // A copy, because the message it lies in may be large and would be kept alive by a 16-byte UUID.
    return Buffer.from(value);
  }

  opaque(): Buffer {
    const length = this.uint();
    if (length > BYTES_MAX) throw new XdrError(`a field of ${length} bytes is over the limit of ${BYTES_MAX}`);
    return this.fixedOpaque(length);
  }

  string(): string {
    return this.opaque().toString('utf8');
  }

  optional<T>(read: (reader: XdrReader) => T): T | undefined {
    return this.bool() ? read(this) : undefined;
  }

  optionalString(): string | undefined {
    return this.optional((reader) => reader.string());
  }

  /** `max` is the protocol's limit for this list. */
  array<T>(max: number, read: (reader: XdrReader) => T): T[] {
    const length = this.uint();
    if (length > max) throw new XdrError(`a list of ${length} is over the limit of ${max}`);
    return Array.from({ length }, () => read(this));
  }

  /** Every byte must have been read: a longer body than expected means that the two sides disagree about its shape. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) throw new XdrError(`${left} bytes are left over`);
  }

  #take(length: number): Buffer {
    const end = this.#offset + length;
    if (end > this.#bytes.length) {
      throw new XdrError(`${length} bytes expected, ${this.#bytes.length - this.#offset} left`);
    }
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }
}

function paddingOf(length: number): number {
  return (4 - (length % 4)) % 4;
}
