import { createRequire } from 'node:module';
import { AwsError, type JsonObject } from '../core/service.ts';
import type { AttributeValue, Item, Path } from './values.ts';

/**
 * The parts of dynalite 4.0.0 that are pure: the parsers of DynamoDB's expression languages, the request validations with
 * DynamoDB's own messages, and the rules about keys and sizes. They have no public entry, hence the deep requires and the
 * exact version in package.json.
 *
 * Its server, its LevelDB store and its actions are not used: they run on callbacks, streams and timers, which a virtual
 * clock cannot drive, and they know neither transactions nor streams of changes. Its evaluation of conditions is replaced
 * too (conditions.ts), because it finds no two maps or lists equal and mistakes `false` and `""` for absent values.
 */
const require = createRequire(import.meta.url);

/** dynalite's description of a request's members: what each must be, and its constraints. */
export type MemberTypes = Record<string, unknown>;

export interface RequestRules {
  types: MemberTypes;
  /** What concerns several members at once; parses the expressions into `_condition`, `_updates` and so on. */
  custom(request: object, limits: Limits): string | undefined;
}

/** The shape in which dynalite's validations expect the greatest size of an item. */
export interface Limits {
  options: { maxItemSize: number };
}

interface Validations {
  checkTypes(request: object, types: MemberTypes): object;
  checkValidations(request: object, types: MemberTypes, custom: RequestRules['custom'], limits: Limits): void;
  validateAttributeValue(value: AttributeValue): string | undefined;
}

/** The members of a table's description that dynalite's rules read. */
export interface KeyedTable {
  KeySchema: { AttributeName: string; KeyType: string }[];
  AttributeDefinitions: { AttributeName: string; AttributeType: string }[];
  GlobalSecondaryIndexes?: { IndexName: string; KeySchema: KeyedTable['KeySchema'] }[];
}

type Verdict = Error | null | undefined;

interface KeyRules {
  MAX_SIZE: number;
  validateKey(key: Item, table: KeyedTable): Verdict;
  validateItem(item: Item, table: KeyedTable): Verdict;
  validateUpdates(legacy: undefined, updates: object | undefined, table: KeyedTable): Verdict;
  validateKeyPiece(key: Item, attribute: string, type: string, isHash: boolean): Verdict;
  validateKeyPaths(nested: object | undefined, table: KeyedTable): Verdict;
  itemSize(item: Item): number;
  mapPaths(paths: Path[], item: Item): Item;
  toRangeStr(piece: string, type: string): string;
}

interface Decimal {
  plus(other: string): Decimal;
  minus(other: string): Decimal;
  cmp(other: string): -1 | 0 | 1;
  toFixed(): string;
}

const validations = require('dynalite/validations/index.js') as Validations;

export const keyRules = require('dynalite/db/index.js') as KeyRules;

export const limits: Limits = { options: { maxItemSize: keyRules.MAX_SIZE } };

/** DynamoDB's numbers have 38 decimal digits, more than a double holds. */
export const Big = createRequire(require.resolve('dynalite/db/index.js'))('big.js') as new (value: string) => Decimal;

export const { validateAttributeValue } = validations;

export interface Parser {
  parse(expression: string, options: { context: ParserContext }): unknown;
}

/** What dynalite hands its parsers. They strike from the two `unused` lists what they come across. */
export interface ParserContext {
  attrNames?: Record<string, string>;
  attrVals?: Record<string, AttributeValue>;
  unusedAttrNames: Record<string, boolean>;
  unusedAttrVals: Record<string, boolean>;
  isKeyCondition?: boolean;
}

export const parsers = ['condition', 'update', 'projection'].map(
  (language) => require(`dynalite/db/${language}Parser.js`) as Parser,
);

export function rulesOf(operation: string): RequestRules {
  return require(`dynalite/validations/${operation[0]?.toLowerCase()}${operation.slice(1)}.js`) as RequestRules;
}

/** Checks a request and returns a copy of it that shares nothing with the input, its numbers in canonical form. */
export function validated(input: JsonObject, { types, custom }: RequestRules): object {
  try {
    const request = validations.checkTypes({ ...input }, types);
    validations.checkValidations(request, types, custom, limits);
    return request;
  } catch (error) {
    throw asAwsError(error);
  }
}

/** Throws what dynalite's key rules return. */
export function enforce(verdict: Verdict): void {
  if (verdict) throw asAwsError(verdict);
}

export function validationError(message: string): AwsError {
  return new AwsError('ValidationException', message);
}

function asAwsError(error: unknown): unknown {
  const { body, statusCode } = error as { body?: { __type: string }; statusCode?: number };
  if (body === undefined) return error;
  return new AwsError(body.__type.replace(/^.*#/, ''), (error as Error).message, statusCode);
}
