import { type Condition, type FunctionCall, type Operand, resolve, type Values } from './expressions.ts';
import { compareValues } from './ordering.ts';
import { type AttributeValue, bytes, equalValues, type Item, setOf, typeOf, valueAt } from './values.ts';

/** Whether an item (`{}` for one that does not exist) satisfies a condition or filter. */
export function matches(condition: Condition, item: Item, values: Values | undefined): boolean {
  switch (condition.type) {
    case 'and':
      return condition.args.every((arg) => matches(arg, item, values));
    case 'or':
      return condition.args.some((arg) => matches(arg, item, values));
    case 'not':
      return !matches(condition.args[0]!, item, values);
    case 'function':
      return functionHolds(condition, item, values);
  }
  const [left, right, third] = condition.args.map((arg) => operandValue(arg, item, values));
  switch (condition.type) {
    case '=':
      return equal(left, right);
    case '<>':
      return !equal(left, right);
    case 'in':
      return condition.args.slice(1).some((arg) => equal(left, operandValue(arg, item, values)));
    case 'between':
      return ordered(left, right, (order) => order >= 0) && ordered(left, third, (order) => order <= 0);
    case '<':
      return ordered(left, right, (order) => order < 0);
    case '<=':
      return ordered(left, right, (order) => order <= 0);
    case '>':
      return ordered(left, right, (order) => order > 0);
    case '>=':
      return ordered(left, right, (order) => order >= 0);
  }
}

function equal(a: AttributeValue | undefined, b: AttributeValue | undefined): boolean {
  return a !== undefined && b !== undefined && equalValues(a, b);
}

function ordered(
  a: AttributeValue | undefined,
  b: AttributeValue | undefined,
  holds: (order: number) => boolean,
): boolean {
  const order = a && b && compareValues(a, b);
  return order !== undefined && holds(order);
}

function functionHolds({ name, args }: FunctionCall, item: Item, values: Values | undefined): boolean {
  const [subject, argument] = args.map((arg) => operandValue(arg, item, values));
  switch (name) {
    case 'attribute_exists':
      return subject !== undefined;
    case 'attribute_not_exists':
      return subject === undefined;
    case 'attribute_type':
      return subject !== undefined && typeOf(subject) === argument?.S;
    case 'begins_with':
      return subject !== undefined && argument !== undefined && beginsWith(subject, argument);
    case 'contains':
      return subject !== undefined && argument !== undefined && contains(subject, argument);
    default:
      throw new Error(`The parser let the unknown function ${name} through.`);
  }
}

function beginsWith(subject: AttributeValue, prefix: AttributeValue): boolean {
  if (subject.S !== undefined && prefix.S !== undefined) return subject.S.startsWith(prefix.S);
  if (subject.B === undefined || prefix.B === undefined) return false;
  const expected = bytes(prefix.B);
  return bytes(subject.B).subarray(0, expected.length).equals(expected);
}

function contains(subject: AttributeValue, part: AttributeValue): boolean {
  if (subject.L) return subject.L.some((element) => equalValues(element, part));
  if (subject.S !== undefined) return part.S !== undefined && subject.S.includes(part.S);
  if (subject.B !== undefined) return part.B !== undefined && bytes(subject.B).includes(bytes(part.B));
  const element = { SS: part.S, NS: part.N, BS: part.B }[typeOf(subject) as 'SS' | 'NS' | 'BS'];
  return element !== undefined && (setOf(subject)?.includes(element) ?? false);
}

function operandValue(operand: Operand, item: Item, values: Values | undefined): AttributeValue | undefined {
  if (Array.isArray(operand)) return valueAt(operand, item);
  if (!isCall(operand)) return resolve(operand, values);
  // The only function that gives a value.
  const argument = operandValue(operand.args[0]!, item, values);
  const size = argument && sizeOf(argument);
  return size === undefined ? undefined : { N: String(size) };
}

function isCall(operand: Exclude<Operand, unknown[]>): operand is FunctionCall {
  return 'args' in operand;
}

function sizeOf(value: AttributeValue): number | undefined {
  if (value.B !== undefined) return bytes(value.B).length;
  if (value.M) return Object.keys(value.M).length;
  return (value.S ?? value.L ?? setOf(value))?.length;
}
