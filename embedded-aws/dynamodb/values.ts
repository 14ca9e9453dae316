/** A value as the API writes it: one type letter and its content; numbers are decimal strings, binaries base64. */
export type AttributeValue = {
  S?: string;
  N?: string;
  B?: string;
  BOOL?: boolean;
  NULL?: boolean;
  SS?: string[];
  NS?: string[];
  BS?: string[];
  L?: AttributeValue[];
  M?: Item;
};
export type Item = { [attribute: string]: AttributeValue };
export type ValueType = keyof AttributeValue;
export type SetType = 'SS' | 'NS' | 'BS';

/** A document path: attribute and map keys are strings, list positions numbers. */
export type Path = (string | number)[];

/** A copy that shares nothing with what it was made from. (structuredClone is several times slower.) */
export function copyOf<T>(json: T): T {
  if (Array.isArray(json)) return json.map(copyOf) as T;
  if (typeof json !== 'object' || json === null) return json;
  const copy: Record<string, unknown> = {};
  for (const key in json) copy[key] = copyOf(json[key]);
  return copy as T;
}

export function typeOf(value: AttributeValue): ValueType {
  for (const type in value) return type as ValueType;
  throw new TypeError('An attribute value has no type.');
}

/** The set inside a value of one of the three set types. */
export function setOf(value: AttributeValue): string[] | undefined {
  return value.SS ?? value.NS ?? value.BS;
}

/** The value at a document path, if there is one. */
export function valueAt(path: Path, item: Item): AttributeValue | undefined {
  let found: AttributeValue | undefined = { M: item };
  for (const piece of path) {
    found = typeof piece === 'number' ? found?.L?.[piece] : memberOf(found?.M, piece);
  }
  return found;
}

function memberOf(map: Item | undefined, name: string): AttributeValue | undefined {
  return map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined;
}

/** Equality as `=` has it: by type and content, deeply; sets have no order. Numbers are canonical strings by now. */
export function equalValues(a: AttributeValue, b: AttributeValue): boolean {
  const type = typeOf(a);
  if (type !== typeOf(b)) return false;
  if (type === 'M') return equalItems(a.M!, b.M!);
  if (type === 'L') return a.L!.length === b.L!.length && a.L!.every((value, i) => equalValues(value, b.L![i]!));
  const set = setOf(a);
  if (set) {
    const other = new Set(setOf(b));
    return set.length === other.size && set.every((element) => other.has(element));
  }
  return a[type] === b[type];
}

export function equalItems(a: Item, b: Item): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && equalValues(a[name]!, b[name]!))
  );
}

/** At least an item's size in bytes, at most some three times as much. Takes far less time than the exact size. */
export function sizeAtMost(item: Item): number {
  let size = 0;
  for (const name in item) size += attributeSizeAtMost(name, item[name]!);
  return size;
}

export const attributeSizeAtMost = (name: string, value: AttributeValue): number =>
  3 * name.length + valueSizeAtMost(value);

function valueSizeAtMost(value: AttributeValue): number {
  let size = 4;
  if (value.S !== undefined) size += 3 * value.S.length;
  else if (value.M !== undefined) size += sizeAtMost(value.M);
  else if (value.L !== undefined) for (const element of value.L) size += 1 + valueSizeAtMost(element);
  else if (value.N !== undefined) size += value.N.length;
  else if (value.B !== undefined) size += value.B.length;
  else for (const element of setOf(value) ?? []) size += 3 * element.length;
  return size;
}

export function bytes(base64: string): Buffer {
  return Buffer.from(base64, 'base64');
}
