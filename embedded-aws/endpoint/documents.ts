import type { Json } from '../core/service.ts';

/**
 * Where in a document command's input or answer DynamoDB's attribute values stand, as @aws-sdk/lib-dynamodb has it in its
 * commands: `null` here, `{}` and `[]` in each member, `*` in any member what stands below.
 */
export type KeyNodes = { readonly [member: string]: KeyNodes | null } | readonly never[] | null | undefined;

/** A value that only the SDK's own marshaller knows. */
export class NotPlain extends Error {}

type Convert = (value: unknown) => unknown;

/** Makes a copy in which the values at the given places are converted, and which lacks what is undefined. */
export function converter(convert: Convert, nodes: KeyNodes): Convert {
  if (nodes === null || nodes === undefined) return convert;
  const members = Object.keys(nodes);
  const below = nodes as Record<string, KeyNodes>;
  if (members.length === 0) return ofEachMember(convert);
  if (members.length === 1 && members[0] === '*') return ofEachMember(converter(convert, below['*']));
  const named = new Map(members.map((name) => [name, converter(convert, below[name])]));
  return (value) => {
    const copy: Record<string, unknown> = {};
    for (const name in value as object) {
      const member = (value as Record<string, unknown>)[name];
      const convertMember = named.get(name);
      if (member !== undefined) copy[name] = convertMember === undefined ? member : convertMember(member);
    }
    return copy;
  };
}

const ofEachMember =
  (convert: Convert): Convert =>
  (value) =>
    Array.isArray(value) ? value.map(convert) : membersOf(value as object, convert);

/** An attribute value out of JSON or a set of strings; throws NotPlain for all else. */
export function toAttribute(value: unknown): unknown {
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) throw new NotPlain();
      return { N: String(value) };
    case 'boolean':
      return { BOOL: value };
    case 'object':
      if (value === null) return { NULL: true };
      if (Array.isArray(value)) return { L: value.filter((element) => element !== undefined).map(toAttribute) };
      if (value instanceof Set) return { SS: strings(value) };
      if (Object.getPrototypeOf(value) === Object.prototype) return { M: membersOf(value, toAttribute) };
  }
  throw new NotPlain();
}

/** A copy of JSON without what is undefined; throws NotPlain for all else. */
export function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new NotPlain();
  return membersOf(value, plain);
}

function strings(set: Set<unknown>): unknown[] {
  const elements = [...set];
  if (elements.length === 0 || elements.some((element) => typeof element !== 'string')) throw new NotPlain();
  return elements;
}

/** What the document client makes of an attribute value. */
export function fromAttribute(value: unknown): unknown {
  const attribute = value as Record<string, Json>;
  for (const type in attribute) {
    const content = attribute[type];
    switch (type) {
      case 'S':
      case 'BOOL':
        return content;
      case 'N':
        return precise(Number(content));
      case 'NULL':
        return null;
      case 'L':
        return (content as Json[]).map(fromAttribute);
      case 'M':
        return membersOf(content as object, fromAttribute);
      case 'SS':
        return new Set(content as string[]);
      default:
        throw new TypeError(`The embedded AWS gives no ${type} of DynamoDB directly.`);
    }
  }
  throw new TypeError('An attribute value of DynamoDB is empty.');
}

function precise(number: number): number {
  if (Math.abs(number) <= Number.MAX_SAFE_INTEGER) return number;
  throw new TypeError(`The embedded AWS gives no number as great as ${number} directly.`);
}

function membersOf(object: object, convert: Convert): Record<string, unknown> {
  const converted: Record<string, unknown> = {};
  for (const name in object) {
    const member = (object as Record<string, unknown>)[name];
    if (member !== undefined) converted[name] = convert(member);
  }
  return converted;
}
