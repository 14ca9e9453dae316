import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, FRAME_MAX_BYTES, type Frame, FrameParser } from '../../../../agent/libvirt/frame.ts';
import {
  byField,
  numberIn,
  readTypedParameter,
  type TypedParameter,
  writeTypedParameter,
} from '../../../../agent/libvirt/typed-parameters.ts';
import { BYTES_MAX, XdrError, XdrReader, XdrWriter } from '../../../../agent/libvirt/xdr.ts';

const int = () => fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint = () => fc.nat({ max: 2 ** 32 - 1 });
const hyper = () => fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uhyper = () => fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const text = () => fc.string({ unit: 'grapheme', maxLength: 40 });
const bytes = (maxLength = 64) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

const typedParameter: fc.Arbitrary<TypedParameter> = fc.oneof(
  fc.record({ field: text(), type: fc.constant('int' as const), value: int() }),
  fc.record({ field: text(), type: fc.constant('uint' as const), value: uint() }),
  fc.record({ field: text(), type: fc.constant('llong' as const), value: hyper() }),
  fc.record({ field: text(), type: fc.constant('ullong' as const), value: uhyper() }),
  fc.record({ field: text(), type: fc.constant('double' as const), value: fc.double() }),
  fc.record({ field: text(), type: fc.constant('boolean' as const), value: fc.boolean() }),
  fc.record({ field: text(), type: fc.constant('string' as const), value: text() }),
);

const frame: fc.Arbitrary<Frame> = fc.record({
  program: uint(),
  procedure: uint(),
  type: uint(),
  serial: uint(),
  status: uint(),
  body: bytes(200),
});

describe('XDR', () => {
  it.each([
    ['int -1', new XdrWriter().int(-1), 'ffffffff'],
    ['uint 2^32-1', new XdrWriter().uint(0xffffffff), 'ffffffff'],
    ['hyper -2', new XdrWriter().hyper(-2n), 'fffffffffffffffe'],
    ['uhyper 1', new XdrWriter().uhyper(1n), '0000000000000001'],
    ['double 1.5', new XdrWriter().double(1.5), '3ff8000000000000'],
    ['bool true', new XdrWriter().bool(true), '00000001'],
    ['string "sillyprog"', new XdrWriter().string('sillyprog'), '0000000973696c6c7970726f67000000'],
    ['optional string', new XdrWriter().optionalString('ab'), '00000001000000026162 0000'.replace(' ', '')],
    ['no optional string', new XdrWriter().optionalString(undefined), '00000000'],
    ['array', new XdrWriter().array([7, 8], (writer, value) => writer.int(value)), '000000020000000700000008'],
    ['fixed opaque of 5', new XdrWriter().fixedOpaque(Buffer.from('0102030405', 'hex')), '0102030405000000'],
  ])('writes %s as RFC 4506 says', (_, writer, hex) => {
    expect(writer.toBuffer().toString('hex')).toBe(hex);
  });

  it('reads back what it wrote, whatever it is', () => {
    fc.assert(
      fc.property(int(), hyper(), uhyper(), text(), bytes(), fc.option(text(), { nil: undefined }), (...values) => {
        const [i, h, u, s, o, maybe] = values;
        const writer = new XdrWriter().int(i).hyper(h).uhyper(u).string(s).opaque(o).optionalString(maybe);
        const reader = new XdrReader(writer.toBuffer());
        const read = [reader.int(), reader.hyper(), reader.uhyper(), reader.string(), reader.opaque()];
        expect([...read, reader.optionalString()]).toEqual(values);
        reader.end();
      }),
    );
  });

  it.each<[string, string, (reader: XdrReader) => unknown]>([
    ['a body that ends too early', '0000', (reader) => reader.int()],
    ['a string longer than the body', '00000005616263', (reader) => reader.string()],
    ['a string without its padding', '0000000161', (reader) => reader.string()],
    ['a string over the limit', (BYTES_MAX + 1).toString(16).padStart(8, '0'), (reader) => reader.string()],
    ['a boolean of 2', '00000002', (reader) => reader.bool()],
    ['a list over its limit', '00000003', (reader) => reader.array(2, (item) => item.int())],
    ['bytes left over', '0000000100000000', (reader) => [reader.int(), reader.end()]],
  ])('refuses %s', (_, hex, read) => {
    expect(() => read(new XdrReader(Buffer.from(hex, 'hex')))).toThrow(XdrError);
  });

  it('fails only with an XdrError on arbitrary bytes', () => {
    fc.assert(
      fc.property(bytes(300), (garbage) => {
        try {
          const reader = new XdrReader(garbage);
          reader.array(64, readTypedParameter);
          reader.end();
        } catch (error) {
          expect(error).toBeInstanceOf(XdrError);
        }
      }),
    );
  });

  it('refuses to send a field that libvirt would not take', () => {
    expect(() => new XdrWriter().opaque(Buffer.alloc(BYTES_MAX + 1))).toThrow(RangeError);
  });
});

describe('typed parameters', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(typedParameter, { maxLength: 20 }), (parameters) => {
        const reader = new XdrReader(new XdrWriter().array(parameters, writeTypedParameter).toBuffer());
        expect(reader.array(20, readTypedParameter)).toEqual(parameters);
        reader.end();
      }),
    );
  });

  it('of an unknown type are refused by name', () => {
    const unknown = new XdrWriter().string('novel').int(8).int(0).toBuffer();
    expect(() => readTypedParameter(new XdrReader(unknown))).toThrow('"novel" has the unknown type 8');
  });

  it('are found by their names, as numbers where asked for', () => {
    const values = byField([
      { field: 'big', type: 'ullong', value: 5n },
      { field: 'name', type: 'string', value: 'vda' },
    ]);
    expect([numberIn(values, 'big'), numberIn(values, 'name'), numberIn(values, 'none')]).toEqual([
      5,
      undefined,
      undefined,
    ]);
  });
});

describe('frames', () => {
  it('have the header libvirt has', () => {
    const ping = { program: 0x6b656570, procedure: 1, type: 2, serial: 0, status: 0, body: Buffer.alloc(0) };
    expect(encodeFrame(ping).toString('hex')).toBe('0000001c6b656570000000010000000100000002' + '0000000000000000');
  });

  it('are found in the stream, however it is cut into chunks', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat({ max: 1000 })), (frames, cuts) => {
        const stream = Buffer.concat(frames.map(encodeFrame));
        const ends = [...cuts.map((cut) => Math.min(cut, stream.length)).sort((a, b) => a - b), stream.length];
        const parser = new FrameParser();
        const found = ends.flatMap((end, index) => [...parser.push(stream.subarray(ends[index - 1] ?? 0, end))]);
        expect(found).toEqual(frames);
        expect(parser.pendingBytes).toBe(0);
      }),
    );
  });

  it('are counted as pending until their last byte is there', () => {
    const parser = new FrameParser();
    const whole = encodeFrame({ program: 1, procedure: 1, type: 0, serial: 1, status: 0, body: Buffer.alloc(4) });
    expect([...parser.push(whole.subarray(0, 31))]).toEqual([]);
    expect(parser.pendingBytes).toBe(31);
  });

  it.each([
    ['shorter than its header', 27],
    ['over the limit', FRAME_MAX_BYTES + 1],
  ])('are refused when the length is %s', (_, length) => {
    const start = Buffer.alloc(4);
    start.writeUInt32BE(length);
    expect(() => [...new FrameParser().push(start)]).toThrow(`a message of ${length} bytes is impossible`);
  });

  it('of another version of the protocol are refused', () => {
    const other = encodeFrame({ program: 1, procedure: 1, type: 0, serial: 1, status: 0, body: Buffer.alloc(0) });
    other.writeUInt32BE(2, 8);
    expect(() => [...new FrameParser().push(other)]).toThrow('protocol version 2');
  });

  it('before a broken one are still delivered', () => {
    const good = { program: 1, procedure: 1, type: 0, serial: 7, status: 0, body: Buffer.alloc(0) };
    const found: number[] = [];
    expect(() => {
      for (const { serial } of new FrameParser().push(Buffer.concat([encodeFrame(good), Buffer.alloc(4)]))) {
        found.push(serial);
      }
    }).toThrow(XdrError);
    expect(found).toEqual([7]);
  });
});
