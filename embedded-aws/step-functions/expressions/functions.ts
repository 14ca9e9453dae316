import { createHash } from 'node:crypto';
import jsonata from 'jsonata';
import type { Clock } from '../../../common/clock.ts';
import { type Random, uuid } from '../../core/random.ts';

export type JsonataFunctions = ReadonlyMap<string, (...args: never[]) => unknown>;

const HASHES = new Map([
  ['MD5', 'md5'],
  ['SHA-1', 'sha1'],
  ['SHA-256', 'sha256'],
  ['SHA-384', 'sha384'],
  ['SHA-512', 'sha512'],
]);
const LARGEST_RANGE = 1_000;
const formatMillis = jsonata('$fromMillis($moment, $picture, $timezone)');

/**
 * The functions Step Functions adds to JSONata, and those of JSONata itself that would otherwise read the real clock or the
 * real random source. As in JSONata, a missing first argument gives nothing.
 */
export function jsonataFunctions(clock: Clock, random: Random): JsonataFunctions {
  return new Map<string, (...args: never[]) => unknown>([
    ['now', (picture?: string, timezone?: string) => formatNow(clock.now(), picture, timezone)],
    ['millis', () => clock.now()],
    ['random', (seed?: unknown) => (seed === undefined ? random() : seeded(number('random', 'seed', seed)))],
    ['uuid', () => uuid(random)],
    ['shuffle', (items?: unknown) => (items === undefined ? undefined : shuffle(list('shuffle', items), random))],
    ['partition', partition],
    ['range', range],
    ['hash', hash],
    ['parse', parse],
  ]);
}

function formatNow(moment: number, picture: string | undefined, timezone: string | undefined): unknown {
  if (picture === undefined && timezone === undefined) return new Date(moment).toISOString();
  return formatMillis.evaluate(undefined, { moment, picture, timezone });
}

/** A draw that only depends on the seed (mulberry32). */
function seeded(seed: number): number {
  let state = (Math.floor(seed) + 0x6d2b79f5) | 0;
  state = Math.imul(state ^ (state >>> 15), state | 1);
  state ^= state + Math.imul(state ^ (state >>> 7), state | 61);
  return ((state ^ (state >>> 14)) >>> 0) / 2 ** 32;
}

function shuffle(items: readonly unknown[], random: Random): unknown[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
  }
  return shuffled;
}

function partition(items?: unknown, size?: unknown): unknown[][] | undefined {
  if (items === undefined) return undefined;
  const all = list('partition', items);
  const length = Math.floor(number('partition', 'size', size));
  if (length < 1) throw new Error('$partition: the size must be at least 1');
  return Array.from({ length: Math.ceil(all.length / length) }, (_, part) =>
    all.slice(part * length, (part + 1) * length),
  );
}

function range(first?: unknown, last?: unknown, step?: unknown): number[] | undefined {
  if (first === undefined) return undefined;
  const [from, to, by] = [
    number('range', 'first', first),
    number('range', 'last', last),
    number('range', 'step', step),
  ];
  if (by === 0) throw new Error('$range: the step must not be 0');
  const length = Math.max(0, Math.floor((to - from) / by) + 1);
  if (length > LARGEST_RANGE) throw new Error(`$range: the result would have more than ${LARGEST_RANGE} elements`);
  return Array.from({ length }, (_, index) => from + index * by);
}

function hash(text?: unknown, algorithm?: unknown): string | undefined {
  if (text === undefined) return undefined;
  const name = HASHES.get(String(algorithm));
  if (typeof text !== 'string') throw new Error('$hash: the data must be a string');
  if (name === undefined) throw new Error(`$hash: the algorithm must be one of ${[...HASHES.keys()].join(', ')}`);
  return createHash(name).update(text, 'utf8').digest('hex');
}

function parse(text?: unknown): unknown {
  if (text === undefined) return undefined;
  if (typeof text !== 'string') throw new Error('$parse: the argument must be a string of JSON');
  return JSON.parse(text);
}

function list(name: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`$${name}: the first argument must be an array`);
  return value;
}

function number(name: string, argument: string, value: unknown): number {
  if (typeof value !== 'number') throw new Error(`$${name}: the ${argument} must be a number`);
  return value;
}
