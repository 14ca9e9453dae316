import { Big, validateAttributeValue, validationError } from './dynalite.ts';
import { type Expression, resolve, type Values } from './expressions.ts';
import { type AttributeValue, type Item, type Path, type SetType, setOf, typeOf, valueAt } from './values.ts';

/** The right side of SET: a path, a value, or one of these. */
type SetValue =
  | Path
  | { type: 'add' | 'subtract' | 'function'; name?: string; args: SetValue[] }
  | Exclude<Parameters<typeof resolve>[0], unknown[]>;

type Section =
  | { type: 'set'; path: Path; val: SetValue }
  | { type: 'remove'; path: Path }
  | { type: 'add' | 'delete'; path: Path; val: AttributeValue };

export type UpdateExpression = Expression<{ sections: Section[]; paths: Path[] }>;

const WRONG_TYPE = 'An operand in the update expression has an incorrect data type';
const NO_SUCH_PATH = 'The document path provided in the update expression is invalid for update';
const NO_SUCH_ATTRIBUTE = 'The provided expression refers to an attribute that does not exist in the item';

/**
 * The item after an update. All operands are those of the item before it, whatever the order of the clauses, and list
 * positions are the old ones: removed elements leave holes that are closed at the end. What the update does not touch is shared
 * with the item before.
 */
export function applyUpdate({ sections }: UpdateExpression, before: Item, values: Values | undefined): Item {
  const after: Made = { item: { ...before }, own: new Set(), lists: new Set() };
  for (const section of sections) putAt(section.path, after, newValue(section, before, values));
  for (const list of after.lists) list.L = list.L!.filter((element) => element !== undefined);
  return after.item;
}

interface Made {
  item: Item;
  /** The maps and lists below it that are no longer the old item's. */
  own: Set<AttributeValue>;
  /** Lists that may need closing up. */
  lists: Set<AttributeValue>;
}

/** What a section leaves at its path; undefined for nothing. */
function newValue(section: Section, before: Item, values: Values | undefined): AttributeValue | undefined {
  if (section.type === 'remove') return undefined;
  if (section.type === 'set') return setValue(section.val, before, values);
  const existing = valueAt(section.path, before);
  const operand = resolve(section.val, values);
  const type = typeOf(operand);
  if (existing !== undefined && typeOf(existing) !== type) throw validationError(WRONG_TYPE);
  if (type === 'N') return sum(existing ?? { N: '0' }, operand, 'plus');
  const old = (existing && setOf(existing)) ?? [];
  const elements = setOf(operand)!;
  if (section.type === 'add') return { [type as SetType]: [...new Set([...old, ...elements])] };
  const left = old.filter((element) => !elements.includes(element));
  return left.length > 0 ? { [type as SetType]: left } : undefined;
}

function setValue(operand: SetValue, item: Item, values: Values | undefined): AttributeValue {
  if (Array.isArray(operand)) {
    const value = valueAt(operand, item);
    if (value === undefined) throw validationError(NO_SUCH_ATTRIBUTE);
    return value;
  }
  if (!('args' in operand)) return resolve(operand, values);
  const [left, right] = operand.args as [SetValue, SetValue];
  if (operand.name === 'if_not_exists') return valueAt(left as Path, item) ?? setValue(right, item, values);
  const a = setValue(left, item, values);
  const b = setValue(right, item, values);
  if (operand.name === 'list_append') {
    if (!a.L || !b.L) throw validationError(WRONG_TYPE);
    return { L: [...a.L, ...b.L] };
  }
  return sum(a, b, operand.type === 'add' ? 'plus' : 'minus');
}

function sum(a: AttributeValue, b: AttributeValue, operation: 'plus' | 'minus'): AttributeValue {
  if (a.N === undefined || b.N === undefined) throw validationError(WRONG_TYPE);
  const result = { N: new Big(a.N)[operation](b.N).toFixed() };
  const complaint = validateAttributeValue(result);
  if (complaint) throw validationError(complaint);
  return result;
}

/** Leaves a value, or nothing, at a path. */
function putAt(path: Path, made: Made, value: AttributeValue | undefined): void {
  const last = path.at(-1)!;
  if (path.length === 1) {
    if (value === undefined) delete made.item[last];
    else made.item[last] = value;
    return;
  }
  const parent = ownedAt(path.slice(0, -1), made);
  if (typeof last === 'number' && parent?.L) {
    const elements: (AttributeValue | undefined)[] = parent.L;
    if (value !== undefined || last < elements.length) elements[last] = value;
    made.lists.add(parent);
  } else if (typeof last === 'string' && parent?.M) {
    if (value === undefined) delete parent.M[last];
    else parent.M[last] = value;
  } else {
    throw validationError(NO_SUCH_PATH);
  }
}

/** The value at a path of the new item; all on the way to it is copied first, where it is still the old item's. */
function ownedAt(path: Path, { item, own }: Made): AttributeValue | undefined {
  let container: AttributeValue = { M: item };
  for (const piece of path) {
    const members: AttributeValue[] | Item | undefined = typeof piece === 'number' ? container.L : container.M;
    const found = members && Object.hasOwn(members, piece) ? (members as Item)[piece] : undefined;
    if (found === undefined) return undefined;
    let owned = found;
    if (!own.has(found)) {
      owned = found.M ? { M: { ...found.M } } : found.L ? { L: [...found.L] } : { ...found };
      own.add(owned);
      (members as Item)[piece] = owned;
    }
    container = owned;
  }
  return container;
}
