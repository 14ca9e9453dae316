import type { JsonObject } from '../core/service.ts';
import type { Entry } from './collection.ts';
import { matches } from './conditions.ts';
import { enforce, keyRules, validationError } from './dynalite.ts';
import type { ProjectionExpression } from './expressions.ts';
import type { GetRequest, PageRequest } from './requests.ts';
import { pick, type Table, typeOfKey, type View } from './table.ts';
import type { Item } from './values.ts';

/** A page of Query or Scan ends once it has read this much, before the filter. */
const PAGE_BYTES = 1024 * 1024;

export function get(table: Table, { Key, _projection }: GetRequest): JsonObject {
  table.checkKey(Key);
  table.checkOnce(_projection, (it) => enforce(keyRules.validateKeyPaths(it.nestedPaths, table.definition)));
  const item = table.get(Key);
  return item ? { Item: projected(item, _projection) } : {};
}

export function projected(item: Item, projection: ProjectionExpression | undefined): Item {
  return projection ? keyRules.mapPaths(projection.paths, item) : item;
}

export function scan(table: Table, request: PageRequest): JsonObject {
  const view = viewFor(table, request);
  const start = request.ExclusiveStartKey && view.positionOf(request.ExclusiveStartKey);
  return page(view, request, view.items.after(start));
}

/** The table or index a page is read from. Fails with ValidationException when the request does not suit it. */
export function viewFor(table: Table, request: PageRequest): View {
  const view = table.viewOf(request.IndexName);
  if (view.index && request.ConsistentRead) {
    throw validationError('Consistent reads are not supported on global secondary indexes');
  }
  if (request.Select === 'ALL_ATTRIBUTES' && view.index && view.index.Projection.ProjectionType !== 'ALL') {
    throw validationError(
      'One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary ' +
        `index ${request.IndexName} because its projection type is not ALL`,
    );
  }
  enforce(keyRules.validateKeyPaths(request._projection?.nestedPaths, table.definition));
  enforce(keyRules.validateKeyPaths(request._filter?.nestedPaths, table.definition));
  if (request.ExclusiveStartKey) checkStartKey(table, view, request.ExclusiveStartKey);
  return view;
}

function checkStartKey(table: Table, view: View, start: Item): void {
  if (Object.keys(start).length !== view.startKeyNames.length) {
    throw validationError('The provided starting key is invalid');
  }
  for (const name of view.startKeyNames) {
    const isHash = name === view.keySchema[0]?.AttributeName;
    const verdict = keyRules.validateKeyPiece(start, name, typeOfKey(table.definition, name), isHash);
    if (verdict) throw validationError(`The provided starting key is invalid: ${verdict.message}`);
  }
}

/** Reads entries in their order until a page is full, and answers as Query and Scan do. */
export function page(view: View, request: PageRequest, entries: Iterable<Entry>): JsonObject {
  const { _filter: filter, ExpressionAttributeValues: values } = request;
  const found: Item[] = [];
  let scanned = 0;
  let bytes = 0;
  let last: Item | undefined;
  for (const { item } of entries) {
    scanned += 1;
    bytes += keyRules.itemSize(item);
    if (!filter || matches(filter.expression, item, values)) found.push(item);
    if (scanned === request.Limit || bytes >= PAGE_BYTES) {
      last = item;
      break;
    }
  }
  return {
    Count: found.length,
    ScannedCount: scanned,
    ...(request.Select !== 'COUNT' && { Items: found.map((item) => projected(item, request._projection)) }),
    ...(last && { LastEvaluatedKey: pick(last, view.startKeyNames) }),
  };
}
