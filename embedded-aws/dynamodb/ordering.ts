import { Big, keyRules } from './dynalite.ts';
import { type AttributeValue, bytes, typeOf } from './values.ts';

/** Order of two values; undefined when they have none (different types, or a type without order). */
export function compareValues(a: AttributeValue, b: AttributeValue): number | undefined {
  if (a.N !== undefined && b.N !== undefined) return new Big(a.N).cmp(b.N);
  if (a.S !== undefined && b.S !== undefined) return Buffer.compare(Buffer.from(a.S), Buffer.from(b.S));
  if (a.B !== undefined && b.B !== undefined) return Buffer.compare(bytes(a.B), bytes(b.B));
  return undefined;
}

/**
 * A string that sorts as the key does: hexadecimal digits for strings and binaries, sign, exponent and digits for
 * numbers. It never holds a character below `0`, so `/` may end it.
 */
export function sortable(value: AttributeValue): string {
  if (value.S !== undefined) return sortableText(value.S);
  const type = typeOf(value) as 'N' | 'B';
  return keyRules.toRangeStr(value[type]!, type);
}

/** Keys are asked for again and again; more of them than this are not kept. */
const CACHE_LIMIT = 10_000;
const sortableTexts = new Map<string, string>();

function sortableText(text: string): string {
  let made = sortableTexts.get(text);
  if (made === undefined) {
    made = keyRules.toRangeStr(text, 'S');
    if (sortableTexts.size >= CACHE_LIMIT) sortableTexts.clear();
    sortableTexts.set(text, made);
  }
  return made;
}
