import type { JsonObject } from '../core/service.ts';
import { renamed } from './expressions.ts';
import { type AttributeValue, typeOf } from './values.ts';

/**
 * Validating a request takes longer than carrying it out, and a program sends the same few requests again and again, with other
 * values. Whether one is valid depends on its values only by their types, as long as these are of the simplest kind. So a
 * request of a shape that was found valid before is taken as valid, with the expressions that were parsed then.
 *
 * What follows is narrower than DynamoDB: whatever is not certain to be valid has no shape, and is validated in full.
 */
interface Shape {
  /** Where what is known of it is kept. */
  place: Place;
  /** The request's parts that may have expressions. */
  parts: JsonObject[];
  /** The same parts of the request once it is validated. */
  validatedParts(request: object): object[];
  /** The request with these in place of its parts. */
  withParts(parts: JsonObject[]): object;
}

/** What validation adds to a part: members beginning with `_`, and KeyConditions. */
interface Parsed {
  members: object;
  /** The attributes of data that it names, which differ from request to request, by their placeholders. */
  dataNames: ReadonlyMap<string, string>;
}

/** More shapes than any program sends; one that pastes values into expressions must not fill the memory. */
const CACHE_LIMIT = 100_000;
let places = 0;

/**
 * A tree, one level for each part of a shape: most parts are constants of the program, and to look each up takes less than to
 * put them together to one text.
 */
class Place {
  parsed: readonly Parsed[] | undefined;
  /** Whether the parsed expressions would hold values. */
  readonly dependsOnValues: boolean;
  readonly #next = new Map<string, Place>();

  constructor(dependsOnValues = false) {
    this.dependsOnValues = dependsOnValues;
  }

  next(part: string): Place {
    let place = this.#next.get(part);
    if (place === undefined) {
      if (++places > CACHE_LIMIT) {
        places = 0;
        known = new Place();
      }
      place = new Place(this.dependsOnValues || DEPENDS_ON_VALUES.test(part));
      this.#next.set(part, place);
    }
    return place;
  }
}

let known = new Place();

/** BETWEEN checks the order of its values, attribute_type the type's name: there the parsed expressions hold values. */
const DEPENDS_ON_VALUES = /\b(between|attribute_type)\b/i;

export function shapeOf(operation: string, input: JsonObject): Shape | undefined {
  try {
    switch (operation) {
      case 'PutItem':
      case 'UpdateItem':
      case 'DeleteItem':
      case 'GetItem':
      case 'Query':
        return ofOne(operation, input);
      case 'BatchGetItem':
        return ofBatch(operation, input);
      case 'TransactWriteItems':
        return ofTransaction(operation, input);
      default:
        return undefined;
    }
  } catch (error) {
    // A TypeError: a part is missing, or is of another kind.
    if (error === NO_SHAPE || error instanceof TypeError) return undefined;
    throw error;
  }
}

function ofOne(operation: string, input: JsonObject): Shape {
  return {
    place: placeOf(input, known.next(operation)),
    parts: [input],
    validatedParts: (request) => [request],
    withParts: ([part]) => part!,
  };
}

function ofTransaction(operation: string, input: JsonObject): Shape {
  const { TransactItems, ...others } = input as { TransactItems: Record<string, JsonObject>[] };
  if (Object.keys(others).length > 0) throw NO_SHAPE;
  const kinds = TransactItems.map(onlyNameIn);
  const parts = TransactItems.map((item, index) => item[kinds[index]!]!);
  return {
    place: parts.reduce((place, part, index) => placeOf(part, place.next(kinds[index]!)), known.next(operation)),
    parts,
    validatedParts: (request) => (request as typeof input as { TransactItems: object[] }).TransactItems.map(onlyIn),
    withParts: (made) => ({ TransactItems: made.map((part, index) => ({ [kinds[index]!]: part })) }),
  };
}

/** Of one table only. */
function ofBatch(operation: string, input: JsonObject): Shape {
  const { RequestItems, ...others } = input as { RequestItems: Record<string, JsonObject> };
  if (Object.keys(others).length > 0) throw NO_SHAPE;
  const table = onlyNameIn(RequestItems);
  const { Keys, ...part } = RequestItems[table]!;
  const keys = Keys as Record<string, AttributeValue>[];
  for (const key of keys) checkPlain(key);
  // A key that is there twice is refused.
  const distinct = new Set(keys.map((key) => JSON.stringify(Object.entries(key).sort())));
  if (keys.length === 0 || keys.length > MOST_KEYS || distinct.size < keys.length) throw NO_SHAPE;
  return {
    place: placeOf(part, known.next(operation).next(table)),
    parts: [part],
    validatedParts: (request) => [onlyIn((request as { RequestItems: object }).RequestItems)],
    withParts: ([made]) => ({ RequestItems: { [table]: { ...made, Keys } } }),
  };
}

const MOST_KEYS = 100;

function onlyNameIn(object: object): string {
  const [name, ...others] = Object.keys(object);
  if (name === undefined || others.length > 0) throw NO_SHAPE;
  return name;
}

const onlyIn = (object: object): object => (object as Record<string, object>)[onlyNameIn(object)]!;

const NO_SHAPE = new Error('no shape');

/** A request as validation would have it. It shares its values with the input, which must not change any more. */
export function requestLikeBefore({ place: { parsed }, parts, withParts }: Shape): object | undefined {
  return parsed && withParts(parts.map((part, index) => Object.assign(defined(part), forPart(part, parsed[index]!))));
}

function forPart(part: JsonObject, { members, dataNames }: Parsed): object {
  if (dataNames.size === 0) return members;
  const names = part.ExpressionAttributeNames as Record<string, string>;
  return renamed(members, new Map([...dataNames].map(([placeholder, name]) => [name, names[placeholder]!])));
}

/** Keeps what validation made of a request of this shape. */
export function remember(request: object, { place, parts, validatedParts }: Shape): void {
  if (place.dependsOnValues) return;
  place.parsed = validatedParts(request).map((part, index) => {
    const given = parts[index]!;
    const added = Object.entries(part).filter(([name]) => name !== 'Keys' && given[name] === undefined);
    const names = Object.entries((given.ExpressionAttributeNames ?? {}) as Record<string, string>);
    return { members: Object.fromEntries(added), dataNames: new Map(names.filter(([, name]) => isData(name))) };
  });
}

/**
 * Whether a name is one of data, such as an identifier that is the key of a map, and not of the program's. A dash is in no keyword,
 * and in no name that stands in an expression itself; so names of data that are not the same may be put in each other's place.
 */
const isData = (name: string): boolean => DATA_NAME.test(name);
const DATA_NAME = /^[\w.]+-[\w.-]{1,200}$/;

function defined(part: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const name in part) if (part[name] !== undefined) copy[name] = part[name]!;
  return copy;
}

/** Where a part leads, by all on which its validity depends; throws NO_SHAPE where it depends on more. */
function placeOf(part: JsonObject, from: Place): Place {
  let place = from;
  for (const name in part) {
    const member = part[name];
    if (member === undefined) continue;
    place = place.next(name);
    switch (name) {
      case 'Key':
      case 'Item':
      case 'ExclusiveStartKey':
        checkPlain(member as Record<string, AttributeValue>);
        break;
      case 'ExpressionAttributeValues': {
        const values = member as Record<string, AttributeValue>;
        checkPlain(values);
        for (const value in values) place = place.next(value).next(typeOf(values[value]!));
        place = place.next(END);
        break;
      }
      case 'ExpressionAttributeNames': {
        const names = member as Record<string, unknown>;
        let data: string | undefined;
        for (const placeholder in names) {
          const attribute = names[placeholder];
          if (typeof attribute !== 'string') throw NO_SHAPE;
          const ofData = isData(attribute);
          // Two might be the same in one request and not in another.
          if (ofData && data !== undefined) throw NO_SHAPE;
          if (ofData) data = attribute;
          place = place.next(placeholder).next(ofData ? OF_DATA : attribute);
        }
        place = place.next(END);
        break;
      }
      default:
        if (typeof member === 'object') throw NO_SHAPE;
        place = place.next(typeof member).next(String(member));
    }
  }
  return place.next(END);
}

/** No name and no type, so that one that goes on is another than one that ends here. */
const END = '';
/** No name that a program has. */
const OF_DATA = '-';

/** An integer, or a decimal fraction, as its canonical form has it, of fewer digits than any limit. */
const PLAIN_NUMBER = /^(?:0|-?[1-9]\d{0,15}|-?(?:0|[1-9]\d{0,10})\.\d{0,25}[1-9])$/;
/** A third of an item's greatest size, in characters: each takes at most three bytes. */
const MOST_CHARACTERS = 130_000;
const DEEPEST = 20;

function checkPlain(values: Record<string, AttributeValue>): void {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw NO_SHAPE;
  let characters = 0;
  const checkMembers = (members: Record<string, AttributeValue>, depth: number): void => {
    for (const name in members) {
      characters += name.length + 4;
      check(members[name]!, depth);
    }
  };
  const check = (value: AttributeValue, depth: number): void => {
    let types = 0;
    for (const type in value) {
      types += 1;
      const content: unknown = value[type as keyof AttributeValue];
      switch (type) {
        case 'S':
          if (typeof content !== 'string' || content === '') throw NO_SHAPE;
          characters += content.length;
          break;
        case 'N':
          if (typeof content !== 'string' || !PLAIN_NUMBER.test(content)) throw NO_SHAPE;
          characters += content.length;
          break;
        case 'BOOL':
          if (typeof content !== 'boolean') throw NO_SHAPE;
          break;
        case 'NULL':
          if (content !== true) throw NO_SHAPE;
          break;
        case 'L':
          if (!Array.isArray(content) || depth > DEEPEST) throw NO_SHAPE;
          for (const element of content) check(element, depth + 1);
          characters += 4 * content.length;
          break;
        case 'M':
          if (typeof content !== 'object' || content === null || Array.isArray(content) || depth > DEEPEST)
            throw NO_SHAPE;
          checkMembers(content as Record<string, AttributeValue>, depth + 1);
          break;
        case 'SS':
          if (!Array.isArray(content) || content.length === 0 || new Set(content).size !== content.length)
            throw NO_SHAPE;
          for (const element of content) {
            if (typeof element !== 'string' || element === '') throw NO_SHAPE;
            characters += element.length;
          }
          break;
        default:
          throw NO_SHAPE;
      }
    }
    if (types !== 1) throw NO_SHAPE;
  };
  checkMembers(values, 0);
  if (characters > MOST_CHARACTERS) throw NO_SHAPE;
}
