import { AwsError, type JsonObject } from '../core/service.ts';
import { matches } from './conditions.ts';
import { enforce, keyRules, validationError } from './dynalite.ts';
import { sortable } from './ordering.ts';
import type { WriteKind, WriteRequest } from './requests.ts';
import { type Table, typeOfKey } from './table.ts';
import { applyUpdate } from './updates.ts';
import { attributeSizeAtMost, type Item, type Path, sizeAtMost, typeOf } from './values.ts';

/** What a write would do, decided on the item as it is now; nothing has changed yet. */
export interface Plan {
  readonly table: Table;
  readonly before: Item | undefined;
  readonly after: Item | undefined;
}

/**
 * The key of the item a write is about, once the write has been found to suit the table's keys and indexes.
 * Fails with ValidationException when it does not, whatever the item is.
 */
export function keyOfWrite(table: Table, { Item, Key, _updates, _condition }: WriteRequest): Item {
  if (Item) enforce(keyRules.validateItem(Item, table.definition));
  else table.checkKey(Key!);
  table.checkOnce(_updates, (updates) => enforce(keyRules.validateUpdates(undefined, updates, table.definition)));
  table.checkOnce(_condition, (condition) =>
    enforce(keyRules.validateKeyPaths(condition.nestedPaths, table.definition)),
  );
  return Item ? table.keyOf(Item) : Key!;
}

/**
 * Decides one write. Fails with ConditionalCheckFailedException (with the `Item`, where the request asks for it) and
 * with ValidationException when the update does not fit the item.
 */
export const plan = (kind: WriteKind, table: Table, request: WriteRequest): Plan =>
  planAt(keyOfWrite(table, request), kind, table, request);

/** The same, with the write's key, which was found to suit. */
export function planAt(key: Item, kind: WriteKind, table: Table, request: WriteRequest): Plan {
  const before = table.get(key);
  checkCondition(request, before);
  const after = itemAfter(kind, request, key, before);
  if (after && after !== before) checkIndexKeys(kind, table, after);
  return { table, before, after };
}

function checkCondition(request: WriteRequest, before: Item | undefined): void {
  const { _condition, ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: returned } = request;
  if (!_condition || matches(_condition.expression, before ?? {}, values)) return;
  const extra: JsonObject = returned === 'ALL_OLD' && before ? { Item: before } : {};
  throw new AwsError('ConditionalCheckFailedException', 'The conditional request failed', 400, extra);
}

function itemAfter(kind: WriteKind, request: WriteRequest, key: Item, before: Item | undefined): Item | undefined {
  switch (kind) {
    case 'Put':
      return request.Item;
    case 'Delete':
      return undefined;
    case 'ConditionCheck':
      return before;
    case 'Update': {
      const base = before ?? key;
      if (!request._updates) return base;
      const after = applyUpdate(request._updates, base, request.ExpressionAttributeValues);
      if (mayBeTooLarge(after, base, request._updates.paths) && keyRules.itemSize(after) > keyRules.MAX_SIZE) {
        throw validationError('Item size to update has exceeded the maximum allowed size');
      }
      return after;
    }
  }
}

/** Of items that came of updates: their size in bytes is at most this. */
const bounds = new WeakMap<Item, number>();

/** Looks only at the attributes that an update's paths begin with, until all that was ever put there might be too much. */
function mayBeTooLarge(after: Item, before: Item, paths: readonly Path[]): boolean {
  let bound = bounds.get(before) ?? sizeAtMost(before);
  for (const path of paths) {
    const name = String(path[0]);
    if (after[name] !== undefined) bound += attributeSizeAtMost(name, after[name]);
  }
  if (bound > keyRules.MAX_SIZE) bound = sizeAtMost(after);
  bounds.set(after, bound);
  return bound > keyRules.MAX_SIZE;
}

/** dynalite checks the values a request states; an index key can also be computed, or be the empty string. */
function checkIndexKeys(kind: WriteKind, { definition }: Table, item: Item): void {
  for (const index of definition.GlobalSecondaryIndexes ?? []) {
    for (const { AttributeName: name } of index.KeySchema) {
      const value = item[name];
      if (value === undefined) continue;
      const type = typeOfKey(definition, name);
      if (typeOf(value) !== type) {
        throw validationError('The update expression attempted to update the secondary index key to unsupported type');
      }
      if (sortable(value) === '') {
        const what =
          kind === 'Update'
            ? 'The update expression attempted to update a secondary index key to a value that is not supported.'
            : 'A value specified for a secondary index key is not supported.';
        throw validationError(
          `One or more parameter values are not valid. ${what} The AttributeValue for a key attribute cannot contain an ` +
            `empty ${type === 'S' ? 'string' : 'binary'} value. IndexName: ${index.IndexName}, IndexKey: ${name}`,
        );
      }
    }
  }
}

/** The attributes a write answers with, by its ReturnValues; none is an empty answer. */
export function returnedValues(request: WriteRequest, planned: Plan): JsonObject {
  const attributes = attributesFor(request, planned);
  return attributes && Object.keys(attributes).length > 0 ? { Attributes: attributes } : {};
}

function attributesFor({ ReturnValues, _updates }: WriteRequest, { before, after }: Plan): Item | undefined {
  switch (ReturnValues) {
    case 'ALL_OLD':
      return before;
    case 'ALL_NEW':
      return after;
    case 'UPDATED_OLD':
      return before && _updates && keyRules.mapPaths(_updates.paths, before);
    case 'UPDATED_NEW':
      return after && _updates && keyRules.mapPaths(_updates.paths, after);
    default:
      return undefined;
  }
}
