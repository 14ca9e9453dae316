import { ConditionalCheckFailedException, TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  GetCommand,
  QueryCommand,
  type QueryCommandInput,
  TransactWriteCommand,
  type TransactWriteCommandInput,
} from '@aws-sdk/lib-dynamodb';
import { dynamo, random, sleep } from './runtime.ts';

/**
 * DynamoDB as all functions use it: conditional writes, reads by key, queries of any number of pages, and another attempt after a
 * pause where another writer was faster. The SDK itself repeats calls that were throttled or failed on the way.
 */
type Key = Record<string, unknown>;

/** The answer of a conditional write; undefined when its condition did not hold. */
export async function unlessConditionFails<T>(write: Promise<T>): Promise<T | undefined> {
  try {
    return await write;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return undefined;
    throw error;
  }
}

/** Reads one item, with all writes that were answered before. */
export async function getItem<T>(table: string, key: Key): Promise<T | undefined> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: table, Key: key, ConsistentRead: true }));
  return Item as T | undefined;
}

/**
 * Reads items by their keys, in no particular order; items that do not exist are left out. At most 100 keys, DynamoDB's limit. Keys that
 * DynamoDB left unprocessed (an answer has room for 16 MB) are asked for again.
 */
export async function getItems<T>(
  table: string,
  keys: readonly Key[],
  { consistent = true }: { consistent?: boolean } = {},
): Promise<T[]> {
  if (keys.length === 0) return [];
  const found: T[] = [];
  let missing: Key[] = [...keys];
  await attempts(async () => {
    const request = { [table]: { Keys: missing, ConsistentRead: consistent } };
    const { Responses, UnprocessedKeys } = await dynamo.send(new BatchGetCommand({ RequestItems: request }));
    found.push(...((Responses?.[table] ?? []) as T[]));
    missing = UnprocessedKeys?.[table]?.Keys ?? [];
    return missing.length === 0 ? true : undefined;
  });
  if (missing.length > 0) throw new Error(`DynamoDB left ${missing.length} of ${keys.length} keys of ${table} unread.`);
  return found;
}

/** All items of a query, of however many pages. */
export async function queryAll<T>(input: QueryCommandInput): Promise<T[]> {
  const items: T[] = [];
  let from: Key | undefined;
  do {
    const page = await dynamo.send(new QueryCommand({ ...input, ...(from && { ExclusiveStartKey: from }) }));
    items.push(...((page.Items ?? []) as T[]));
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return items;
}

type Write = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

/**
 * All writes or none. Returns the names of the writes whose condition did not hold; an empty list means that all were made. A conflict
 * with another transaction is tried again: two migrations that write to the same host's item at once conflict.
 */
export async function transact<Name extends string>(writes: readonly { name: Name; write: Write }[]): Promise<Name[]> {
  let conflict: unknown;
  const refused = await attempts(async () => {
    try {
      await dynamo.send(new TransactWriteCommand({ TransactItems: writes.map(({ write }) => write) }));
      return [];
    } catch (error) {
      if (!(error instanceof TransactionCanceledException)) throw error;
      const codes = (error.CancellationReasons ?? []).map((reason) => reason.Code);
      const failed = writes.filter((_, index) => codes[index] === 'ConditionalCheckFailed').map(({ name }) => name);
      if (failed.length > 0) return failed;
      conflict = error;
      return undefined;
    }
  });
  if (refused === undefined) throw conflict;
  return refused;
}

/** The pauses' upper bounds are 25, 50, 100, ... ms, at most 1 s: the whole of it stays far within a function's 30 s. */
const PAUSE_MS = { first: 25, most: 1_000 };

/**
 * Calls `attempt` until it returns something, at most `most` times, with growing pauses of random length in between, so that those who
 * got in each other's way do not meet again. Undefined when no attempt returned anything.
 */
export async function attempts<T>(attempt: () => Promise<T | undefined>, most = 6): Promise<T | undefined> {
  for (let count = 1; ; count++) {
    const result = await attempt();
    if (result !== undefined || count === most) return result;
    await sleep(random() * Math.min(PAUSE_MS.first * 2 ** (count - 1), PAUSE_MS.most));
  }
}
