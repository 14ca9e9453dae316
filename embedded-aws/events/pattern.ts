import { AwsError, type Json, type JsonObject } from '../core/service.ts';

export type Matcher = (event: Json) => boolean;
type Test = (value: Json) => boolean;

/**
 * Compiles an EventBridge event pattern; Lambda's event filters are the same language.
 *
 * A field of the pattern is a list of alternatives, of which one has to match; all fields have to match. Where the event
 * has an array, one element has to match. Two fields within one array of objects may be matched by different elements,
 * where AWS asks for the same one. Throws InvalidEventPatternException, naming the field, on a pattern AWS would reject,
 * and NotImplemented on IPv6 `cidr`.
 */
export function compilePattern(pattern: Json): Matcher {
  const matches = compileObject(pattern, '');
  return (event) => matches([event]);
}

type NodesTest = (nodes: Json[]) => boolean;

function compileObject(pattern: Json, path: string): NodesTest {
  if (!isObject(pattern)) throw invalid(path, 'must be an object');
  const fields = Object.entries(pattern).map(([key, part]): NodesTest => {
    const here = path === '' ? key : `${path}.${key}`;
    if (key === '$or' && Array.isArray(part)) {
      if (part.length < 2) throw invalid(here, 'needs at least two patterns');
      const alternatives = part.map((each) => compileObject(each, path));
      return (nodes) => alternatives.some((alternative) => alternative(nodes));
    }
    const field = Array.isArray(part) ? compileField(part, here) : compileObject(part, here);
    return (nodes) => field(childrenOf(nodes, key));
  });
  return (nodes) => fields.every((field) => field(nodes));
}

/** What the nodes hold under a key, arrays opened. A key that no node has gives none. */
function childrenOf(nodes: Json[], key: string): Json[] {
  if (nodes.length !== 1) return nodes.flatMap((node) => childrenOf([node], key));
  const [node] = nodes as [Json];
  if (!isObject(node) || !Object.hasOwn(node, key)) return [];
  const child = node[key] as Json;
  return Array.isArray(child) ? child.flatMap(open) : [child];
}

const open = (value: Json): Json[] => (Array.isArray(value) ? value.flatMap(open) : [value]);

function compileField(alternatives: Json[], path: string): NodesTest {
  if (alternatives.length === 0) throw invalid(path, 'must not be an empty list');
  const tests = alternatives.map((alternative): NodesTest => {
    if (isObject(alternative) && 'exists' in alternative) {
      const wanted = alternative.exists;
      if (typeof wanted !== 'boolean') throw invalid(path, '"exists" needs true or false');
      // Only leaves exist, as far as a pattern goes.
      return (nodes) => nodes.some((node) => !isObject(node)) === wanted;
    }
    const test = isObject(alternative) ? compileOperator(alternative, path) : exactly(alternative);
    return (nodes) => nodes.some((node) => !isObject(node) && test(node));
  });
  return (nodes) => tests.some((test) => test(nodes));
}

const exactly =
  (wanted: Json): Test =>
  (value) =>
    value === wanted;

function compileOperator(operators: JsonObject, path: string): Test {
  const [name, ...others] = Object.keys(operators);
  if (name === undefined || others.length > 0) throw invalid(path, 'needs exactly one operator in an object');
  const argument = operators[name] as Json;
  switch (name) {
    case 'prefix':
    case 'suffix':
      return affix(name, argument, path);
    case 'equals-ignore-case':
    case 'wildcard':
      return textTest(name, argument, path);
    case 'anything-but':
      return anythingBut(argument, path);
    case 'numeric':
      return numeric(argument, path);
    case 'cidr':
      return cidr(argument, path);
    default:
      throw invalid(path, `unrecognized match type "${name}"`);
  }
}

/** `"a"`, or `{"equals-ignore-case": "A"}`. */
function affix(kind: 'prefix' | 'suffix', argument: Json, path: string): Test {
  const ignoreCase = isObject(argument) && 'equals-ignore-case' in argument;
  const fold = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  const wanted = fold(string(ignoreCase ? argument['equals-ignore-case'] : argument, path, kind));
  if (kind === 'prefix') return (value) => typeof value === 'string' && fold(value).startsWith(wanted);
  return (value) => typeof value === 'string' && fold(value).endsWith(wanted);
}

function textTest(kind: 'equals-ignore-case' | 'wildcard', argument: Json, path: string): Test {
  const wanted = string(argument, path, kind);
  const expression = kind === 'wildcard' ? wildcard(wanted, path) : new RegExp(`^${literally(wanted)}$`, 'i');
  return (value) => typeof value === 'string' && expression.test(value);
}

/** `*` is any text, `\*` a star, `\\` a backslash. */
function wildcard(text: string, path: string): RegExp {
  const parts = text.match(/\\.|\*|[^\\*]+|\\$/gs) ?? [];
  let source = '';
  for (const [index, part] of parts.entries()) {
    if (part === '*' && parts[index - 1] === '*')
      throw invalid(path, 'consecutive wildcard characters are not allowed');
    if (part.startsWith('\\') && !/^\\[*\\]$/.test(part))
      throw invalid(path, 'a backslash may only escape "*" and "\\"');
    source += part === '*' ? '.*' : literally(part.startsWith('\\') ? part.slice(1) : part);
  }
  return new RegExp(`^${source}$`, 's');
}

const literally = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** A value, a list of values, or one of the text operators with a value or a list: what the field must not be. */
function anythingBut(argument: Json, path: string): Test {
  let excluded: Test[];
  if (isObject(argument)) {
    const [name, ...others] = Object.keys(argument);
    if (
      name === undefined ||
      others.length > 0 ||
      !['prefix', 'suffix', 'equals-ignore-case', 'wildcard'].includes(name)
    ) {
      throw invalid(path, '"anything-but" takes prefix, suffix, equals-ignore-case or wildcard');
    }
    excluded = open(argument[name] as Json).map((each) => compileOperator({ [name]: each }, path));
  } else {
    excluded = open(argument).map((each) => {
      if (typeof each !== 'string' && typeof each !== 'number')
        throw invalid(path, '"anything-but" takes strings or numbers');
      return exactly(each);
    });
  }
  if (excluded.length === 0) throw invalid(path, '"anything-but" needs a value');
  return (value) => !excluded.some((test) => test(value));
}

const COMPARISONS: Record<string, (value: number, limit: number) => boolean> = {
  '=': (value, limit) => value === limit,
  '>': (value, limit) => value > limit,
  '>=': (value, limit) => value >= limit,
  '<': (value, limit) => value < limit,
  '<=': (value, limit) => value <= limit,
};

/** `[">", 0, "<=", 5]`: one comparison, or two. */
function numeric(argument: Json, path: string): Test {
  const parts = Array.isArray(argument) ? argument : [];
  if (parts.length !== 2 && parts.length !== 4) throw invalid(path, '"numeric" takes one or two comparisons');
  const comparisons: ((value: number) => boolean)[] = [];
  for (let index = 0; index < parts.length; index += 2) {
    const compare = COMPARISONS[String(parts[index])];
    const limit = parts[index + 1];
    if (compare === undefined || typeof limit !== 'number') {
      throw invalid(path, '"numeric" takes =, >, >=, < or <=, each followed by a number');
    }
    comparisons.push((value) => compare(value, limit));
  }
  return (value) => typeof value === 'number' && comparisons.every((holds) => holds(value));
}

function cidr(argument: Json, path: string): Test {
  const [address = '', bits = ''] = string(argument, path, 'cidr').split('/');
  if (address.includes(':')) throw new AwsError('NotImplemented', 'The embedded AWS matches no IPv6 "cidr".', 501);
  const network = ipv4(address);
  if (network === undefined || !/^\d+$/.test(bits) || Number(bits) > 32)
    throw invalid(path, '"cidr" needs address/bits');
  const size = 2 ** (32 - Number(bits));
  return (value) => {
    const ip = typeof value === 'string' ? ipv4(value) : undefined;
    return ip !== undefined && Math.floor(ip / size) === Math.floor(network / size);
  };
}

function ipv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

function string(value: Json | undefined, path: string, operator: string): string {
  if (typeof value === 'string') return value;
  throw invalid(path, `"${operator}" needs a string`);
}

const isObject = (value: Json): value is JsonObject =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

const invalid = (path: string, reason: string) =>
  new AwsError(
    'InvalidEventPatternException',
    `Event pattern is not valid. Reason: ${path || 'the pattern'} ${reason}.`,
  );
