import type { JsonObject } from '../core/service.ts';
import { enforce, keyRules, validationError } from './dynalite.ts';
import { projected } from './reads.ts';
import type { BatchGetRequest, BatchWriteRequest } from './requests.ts';
import type { Tables } from './tables.ts';
import { type Plan, plan } from './writes.ts';

/** Puts and deletes of one call, whichever tables they are in. */
const MOST_WRITES = 25;

/** Nothing is ever left unprocessed here, but callers must be ready for it all the same. */
export function batchGet({ RequestItems }: BatchGetRequest, tables: Tables): JsonObject {
  const Responses: JsonObject = {};
  for (const [name, { Keys, _projection }] of Object.entries(RequestItems)) {
    const table = tables.get(name);
    for (const key of Keys) table.checkKey(key);
    enforce(keyRules.validateKeyPaths(_projection?.nestedPaths, table.definition));
    Responses[name] = Keys.map((key) => table.get(key))
      .filter((item) => item !== undefined)
      .map((item) => projected(item, _projection));
  }
  return { Responses, UnprocessedKeys: {} };
}

/** Fails with ValidationException before anything is written when one of the writes is not valid. */
export function planBatchWrite({ RequestItems }: BatchWriteRequest, tables: Tables): Plan[] {
  const seen = new Set<string>();
  const plans = Object.entries(RequestItems).flatMap(([TableName, writes]) => {
    const table = tables.get(TableName);
    return writes.map(({ PutRequest, DeleteRequest }) => {
      const planned = PutRequest
        ? plan('Put', table, { TableName, Item: PutRequest.Item })
        : plan('Delete', table, { TableName, Key: DeleteRequest!.Key });
      const { partition, sort } = table.view.positionOf(PutRequest?.Item ?? DeleteRequest!.Key);
      const item = `${TableName}/${partition}/${sort}`;
      if (seen.has(item)) throw validationError('Provided list of item keys contains duplicates');
      seen.add(item);
      return planned;
    });
  });
  if (plans.length > MOST_WRITES) throw validationError('Too many items requested for the BatchWriteItem call');
  return plans;
}
