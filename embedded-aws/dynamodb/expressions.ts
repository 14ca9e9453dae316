import { type Parser, type ParserContext, parsers } from './dynalite.ts';
import { type AttributeValue, type Path, typeOf } from './values.ts';

export type Values = Record<string, AttributeValue>;

export interface FunctionCall {
  type: 'function';
  name: string;
  args: Operand[];
}

/** A path, a call such as `size(a)`, or a value; a value taken from ExpressionAttributeValues carries its name. */
export type Operand = Path | FunctionCall | (AttributeValue & { [NAME]?: string });

export type Condition =
  | { type: 'and' | 'or' | 'not'; args: Condition[] }
  | { type: '=' | '<>' | '<' | '<=' | '>' | '>=' | 'between' | 'in'; args: Operand[] }
  | FunctionCall;

export type Expression<Tree> = Tree & { nestedPaths: Record<string, true> };
export type ConditionExpression = Expression<{ expression: Condition; pathHeads: Record<string, true> }>;
export type ProjectionExpression = Expression<{ paths: Path[] }>;

/**
 * Parsing takes longer than all the rest of a write, so each distinct expression is parsed once. The parsers put the
 * values themselves into the tree; to be of use again, the tree holds stand-ins that have the value's type (all that the
 * parsers look at) and its name, and `resolve` finds the value of the request at hand.
 */
const NAME = Symbol('name in ExpressionAttributeValues');

/** These two also check values: BETWEEN the order of its bounds, attribute_type the type's name. */
const DEPENDS_ON_VALUES = /\b(between|attribute_type)\b/i;

/** More distinct expressions than any program writes; a program that pastes values into them must not fill the memory. */
const CACHE_LIMIT = 10_000;

/** The value an operand stands for, given the request's ExpressionAttributeValues. Paths and calls are not for it. */
export function resolve(operand: Exclude<Operand, Path | FunctionCall>, values: Values | undefined): AttributeValue {
  const name = operand[NAME];
  return name === undefined ? operand : values![name]!;
}

/**
 * dynalite's validations call the parsers themselves, so the cache goes where they find them. Calling it again changes
 * nothing.
 */
export function cacheParsers(): void {
  for (const parser of parsers) {
    if (!cached.has(parser)) {
      cached.add(parser);
      parser.parse = cachedParse(parser.parse);
    }
  }
}
const cached = new WeakSet<Parser>();

interface Parsed {
  tree: unknown;
  unusedNames: string[];
  unusedValues: string[];
}

function cachedParse(parse: Parser['parse']): Parser['parse'] {
  const cache = new Map<string, Parsed>();
  return (expression, { context }) => {
    if (DEPENDS_ON_VALUES.test(expression)) return parse(expression, { context });
    const key = cacheKey(expression, context);
    let parsed = cache.get(key);
    if (!parsed) {
      parsed = parseApart(parse, expression, context);
      if (cache.size >= CACHE_LIMIT) cache.clear();
      cache.set(key, parsed);
    }
    keepOnly(context.unusedAttrNames, parsed.unusedNames);
    keepOnly(context.unusedAttrVals, parsed.unusedValues);
    // dynalite turns `:value = key` around in place.
    return context.isKeyCondition ? copyOf(parsed.tree) : parsed.tree;
  };
}

function cacheKey(expression: string, { attrNames, attrVals }: ParserContext): string {
  let key = expression;
  for (const name in attrNames) key += `\0${name}=${attrNames[name]}`;
  for (const name in attrVals) key += `\0${name}:${typeOf(attrVals[name]!)}`;
  return key;
}

function parseApart(parse: Parser['parse'], expression: string, context: ParserContext): Parsed {
  const standIns: Values = {};
  const unusedAttrNames: Record<string, boolean> = {};
  const unusedAttrVals: Record<string, boolean> = {};
  for (const name in context.attrNames) unusedAttrNames[name] = true;
  for (const name in context.attrVals) {
    unusedAttrVals[name] = true;
    standIns[name] = Object.assign({ ...context.attrVals[name] }, { [NAME]: name });
  }
  const tree = parse(expression, { context: { ...context, attrVals: standIns, unusedAttrNames, unusedAttrVals } });
  return { tree, unusedNames: Object.keys(unusedAttrNames), unusedValues: Object.keys(unusedAttrVals) };
}

/** Another expression of the same request may have used a name that this one does not. */
function keepOnly(unused: Record<string, boolean>, names: string[]): void {
  for (const name of Object.keys(unused)) {
    if (!names.includes(name)) delete unused[name];
  }
}

function copyOf<Tree>(tree: Tree): Tree {
  if (Array.isArray(tree)) return tree.map(copyOf) as Tree;
  if (typeof tree !== 'object' || tree === null || NAME in tree) return tree;
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, copyOf(value)])) as Tree;
}

/** A copy of what was parsed in which attributes have other names; all else of it is shared. */
export function renamed<Tree>(tree: Tree, names: ReadonlyMap<string, string>): Tree {
  if (typeof tree === 'string') return (names.get(tree) ?? tree) as Tree;
  if (Array.isArray(tree)) return tree.map((part) => renamed(part, names)) as Tree;
  if (typeof tree !== 'object' || tree === null || NAME in tree) return tree;
  return Object.fromEntries(
    Object.entries(tree).map(([key, part]) => [names.get(key) ?? key, renamed(part, names)]),
  ) as Tree;
}
