import type { JsonObject } from '../core/service.ts';
import { type Entry, firstAfter, firstNotBefore } from './collection.ts';
import { validationError } from './dynalite.ts';
import { resolve } from './expressions.ts';
import { sortable } from './ordering.ts';
import { page, viewFor } from './reads.ts';
import type { QueryRequest } from './requests.ts';
import { partitionOf, type Table, typeOfKey, type View } from './table.ts';
import type { AttributeValue } from './values.ts';

interface KeyCondition {
  operator: string;
  values: AttributeValue[];
}

export function query(table: Table, request: QueryRequest): JsonObject {
  const view = viewFor(table, request);
  const { hash, range } = keyConditions(table, view, request);
  refuseKeysInFilter(view, request);
  const partition = partitionOf(hash);
  const entries = view.items.partition(partition);
  let [from, to] = range ? bounds(entries, range) : [0, entries.length];
  const backwards = request.ScanIndexForward === false;
  if (request.ExclusiveStartKey) {
    const start = view.positionOf(request.ExclusiveStartKey);
    if (start.partition !== partition) {
      throw validationError('The provided starting key is outside query boundaries based on provided conditions');
    }
    if (backwards) to = Math.min(to, firstNotBefore(entries, start.sort));
    else from = Math.max(from, firstAfter(entries, start.sort));
  }
  const selected = entries.slice(from, to);
  return page(view, request, backwards ? selected.reverse() : selected);
}

/** The partition key's values that a query is about, as the request states them. */
export function hashValuesOf(request: QueryRequest, hashKey: string): AttributeValue[] {
  return (
    request.KeyConditions[hashKey]?.AttributeValueList.map((value) =>
      resolve(value, request.ExpressionAttributeValues),
    ) ?? []
  );
}

const NOT_INDEXABLE = ['NULL', 'NOT_NULL', 'NE', 'CONTAINS', 'NOT_CONTAINS', 'IN'];

function keyConditions(
  { definition }: Table,
  { keySchema }: View,
  request: QueryRequest,
): { hash: AttributeValue; range: KeyCondition | undefined } {
  const stated = Object.keys(request.KeyConditions).length;
  if (stated > keySchema.length) throw validationError('Query key condition not supported');
  const [hash, range] = keySchema.map(({ AttributeName: name }, position): KeyCondition | undefined => {
    const condition = request.KeyConditions[name];
    if (!condition) {
      if (position === 0 || stated > 1) throw validationError(`Query condition missed key schema element: ${name}`);
      return undefined;
    }
    const operator = condition.ComparisonOperator;
    if (NOT_INDEXABLE.includes(operator)) {
      throw validationError('Attempted conditional constraint is not an indexable operation');
    }
    const type = typeOfKey(definition, name) as 'S' | 'N' | 'B';
    const values = condition.AttributeValueList.map((value) => resolve(value, request.ExpressionAttributeValues));
    if (values.some((value) => value[type] === undefined)) {
      throw validationError(
        'One or more parameter values were invalid: Condition parameter type does not match schema type',
      );
    }
    return { operator, values };
  });
  if (hash!.operator !== 'EQ') throw validationError('Query key condition not supported');
  return { hash: hash!.values[0]!, range };
}

function refuseKeysInFilter(view: View, { _filter }: QueryRequest): void {
  const key = view.keySchema.find(({ AttributeName: name }) => _filter?.pathHeads[name]);
  if (!key) return;
  throw validationError(
    `Filter Expression can only contain non-primary key attributes: Primary key attribute: ${key.AttributeName}`,
  );
}

/**
 * Which entries of a partition a condition on the sort key selects, from the first to before the second. A place in the
 * partition is the sort key's sortable form and then `/`, so `0`, the next character, sorts after all that share the key.
 */
function bounds(entries: readonly Entry[], { operator, values }: KeyCondition): [number, number] {
  const [low, high] = values.map(sortable);
  const before = (sort: string) => firstNotBefore(entries, sort);
  switch (operator) {
    case 'EQ':
      return [before(`${low}/`), before(`${low}0`)];
    case 'LT':
      return [0, before(`${low}/`)];
    case 'LE':
      return [0, before(`${low}0`)];
    case 'GT':
      return [before(`${low}0`), entries.length];
    case 'GE':
      return [before(`${low}/`), entries.length];
    case 'BETWEEN':
      return [before(`${low}/`), before(`${high}0`)];
    case 'BEGINS_WITH':
      // `g` sorts after every hexadecimal digit.
      return [before(low!), before(`${low}g`)];
    default:
      throw new Error(`The parser let the operator ${operator} through.`);
  }
}
