import { notImplemented, type PolicyStatement } from '../core/service.ts';
import { expanded, literal, matchesArn, matchesPattern } from './patterns.ts';

/** The request's condition keys, in lower case since their names have no case, each with its values. */
export type Context = ReadonlyMap<string, readonly string[]>;

type Test = (value: string, expected: string) => boolean;

const equals: Test = (value, expected) => value === literal(expected);
const equalsIgnoringCase: Test = (value, expected) => value.toLowerCase() === literal(expected).toLowerCase();

/** Each tests one value of the request against one of the policy; of the policy's, one that holds is enough. */
const OPERATORS: Record<string, Test> = {
  StringEquals: equals,
  StringEqualsIgnoreCase: equalsIgnoringCase,
  StringLike: matchesPattern,
  ArnEquals: matchesArn,
  ArnLike: matchesArn,
  Bool: equalsIgnoringCase,
  NumericEquals: (value, expected) => Number(value) === Number(expected),
  NumericLessThan: (value, expected) => Number(value) < Number(expected),
  NumericLessThanEquals: (value, expected) => Number(value) <= Number(expected),
  NumericGreaterThan: (value, expected) => Number(value) > Number(expected),
  NumericGreaterThanEquals: (value, expected) => Number(value) >= Number(expected),
};

/** These hold when none of the policy's values does, and also when the request lacks the key. */
const NEGATIONS: Record<string, Test> = {
  StringNotEquals: equals,
  StringNotEqualsIgnoreCase: equalsIgnoringCase,
  StringNotLike: matchesPattern,
  ArnNotEquals: matchesArn,
  ArnNotLike: matchesArn,
  NumericNotEquals: OPERATORS.NumericEquals!,
};

/** Says which part of a condition is not met; undefined when all is. Fails with NotImplemented on an unknown operator. */
export function unmet(condition: PolicyStatement['Condition'], context: Context): string | undefined {
  for (const [operator, keys] of Object.entries(condition ?? {})) {
    const holds = operatorNamed(operator);
    for (const [key, stated] of Object.entries(keys)) {
      const values = context.get(key.toLowerCase()) ?? [];
      const expected = [stated]
        .flat()
        .map((value) => expanded(String(value), (variable) => context.get(variable.toLowerCase())?.[0]))
        .filter((value) => value !== undefined);
      if (!holds(values, expected, key)) {
        return `${operator} ${key} ${JSON.stringify(stated)}, but the request has ${JSON.stringify(values)}`;
      }
    }
  }
  return undefined;
}

type Operator = (values: readonly string[], expected: readonly string[], key: string) => boolean;

const operators = new Map<string, Operator>();

function operatorNamed(fullName: string): Operator {
  const known = operators.get(fullName) ?? makeOperator(fullName);
  operators.set(fullName, known);
  return known;
}

function makeOperator(fullName: string): Operator {
  const [, quantifier, name, ifExists] = /^(?:(ForAllValues|ForAnyValue):)?(.+?)(IfExists)?$/.exec(fullName)!;
  if (name === 'Null')
    return (values, expected) => expected.some((absent) => (absent === 'true') === (values.length === 0));
  const positive = Object.hasOwn(OPERATORS, name!) ? OPERATORS[name!] : undefined;
  const negated = Object.hasOwn(NEGATIONS, name!) ? NEGATIONS[name!] : undefined;
  const test = positive ?? negated;
  if (!test) throw notImplemented(`the IAM condition operator ${fullName}`);
  const one = (value: string, expected: readonly string[]) =>
    expected.some((wanted) => test(value, wanted)) === (positive !== undefined);
  if (quantifier === 'ForAllValues') return (values, expected) => values.every((value) => one(value, expected));
  if (quantifier === 'ForAnyValue') return (values, expected) => values.some((value) => one(value, expected));
  const whenAbsent = negated !== undefined || ifExists !== undefined;
  return (values, expected, key) => {
    if (values.length > 1) {
      throw notImplemented(`${fullName} on ${key}, which has several values here: say ForAllValues: or ForAnyValue:`);
    }
    return values.length === 0 ? whenAbsent : one(values[0]!, expected);
  };
}
