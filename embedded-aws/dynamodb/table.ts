import { Collection, type Position } from './collection.ts';
import { enforce, type KeyedTable, keyRules, validationError } from './dynalite.ts';
import { sortable } from './ordering.ts';
import type { AttributeValue, Item } from './values.ts';

export type StreamViewType = 'KEYS_ONLY' | 'NEW_IMAGE' | 'OLD_IMAGE' | 'NEW_AND_OLD_IMAGES';
export type KeySchema = KeyedTable['KeySchema'];

export type IndexDefinition = {
  IndexName: string;
  KeySchema: KeySchema;
  Projection: { ProjectionType: 'ALL' | 'INCLUDE' | 'KEYS_ONLY'; NonKeyAttributes?: string[] };
};

export interface TableDefinition extends KeyedTable {
  TableName: string;
  BillingMode?: 'PAY_PER_REQUEST' | 'PROVISIONED';
  GlobalSecondaryIndexes?: IndexDefinition[];
  StreamSpecification?: { StreamEnabled: boolean; StreamViewType?: StreamViewType };
  DeletionProtectionEnabled?: boolean;
}

/** A table or a global secondary index, as Query and Scan see it. */
export interface View {
  readonly items: Collection;
  readonly keySchema: KeySchema;
  /** Attributes of a LastEvaluatedKey: the table's key, and the index's. */
  readonly startKeyNames: readonly string[];
  readonly index?: IndexDefinition;
  /** What it has of each item; all of it, if undefined. */
  readonly attributes: readonly string[] | undefined;
  positionOf(item: Item): Position;
}

/**
 * One table's items and indexes. Indexes follow a write at once, where real ones lag: nothing here shows what a reader of a
 * stale index would meet. Items are never changed in place, so answers and stream records may share them.
 */
export class Table {
  readonly definition: TableDefinition;
  readonly arn: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** The label of the table's stream; undefined when it has none. */
  readonly streamLabel: string | undefined;
  readonly view: View;
  readonly #indexes = new Map<string, View>();
  /** Parsed expressions, which requests of one kind have in common, that suit this table's keys. */
  readonly #fitting = new WeakSet<object>();
  timeToLive: { AttributeName: string; Enabled: boolean } | undefined;

  constructor(definition: TableDefinition, arn: string, createdAt: number) {
    this.definition = definition;
    this.arn = arn;
    this.createdAt = createdAt;
    this.streamLabel = definition.StreamSpecification?.StreamEnabled
      ? new Date(createdAt).toISOString().replace('Z', '')
      : undefined;
    const keyNames = definition.KeySchema.map((key) => key.AttributeName);
    this.view = {
      items: new Collection(),
      keySchema: definition.KeySchema,
      startKeyNames: keyNames,
      attributes: undefined,
      positionOf: (item) => positionOf(item, definition.KeySchema, ''),
    };
    for (const index of definition.GlobalSecondaryIndexes ?? []) {
      const indexKeyNames = index.KeySchema.map((key) => key.AttributeName);
      const startKeyNames = [...new Set([...keyNames, ...indexKeyNames])];
      const { ProjectionType, NonKeyAttributes = [] } = index.Projection;
      this.#indexes.set(index.IndexName, {
        items: new Collection(),
        keySchema: index.KeySchema,
        startKeyNames,
        index,
        attributes: ProjectionType === 'ALL' ? undefined : [...startKeyNames, ...NonKeyAttributes],
        // Items may share an index key; the table's key distinguishes them.
        positionOf: (item) => {
          const { partition, sort } = this.view.positionOf(item);
          return positionOf(item, index.KeySchema, `${partition}/${sort}`);
        },
      });
    }
  }

  get streamArn(): string | undefined {
    return this.streamLabel && `${this.arn}/stream/${this.streamLabel}`;
  }

  get partitionKey(): string {
    return this.definition.KeySchema[0]!.AttributeName;
  }

  viewOf(indexName: string | undefined): View {
    if (indexName === undefined) return this.view;
    const index = this.#indexes.get(indexName);
    if (!index) throw validationError(`The table does not have the specified index: ${indexName}`);
    return index;
  }

  /** Fails with ValidationException when a key is not one of this table. */
  checkKey(key: Item): void {
    enforce(keyRules.validateKey(key, this.definition));
  }

  /** Checks an expression against this table, unless it was found good before. */
  checkOnce<Expression extends object>(expression: Expression | undefined, check: (it: Expression) => void): void {
    if (expression === undefined || this.#fitting.has(expression)) return;
    check(expression);
    this.#fitting.add(expression);
  }

  get(key: Item): Item | undefined {
    return this.view.items.get(this.view.positionOf(key));
  }

  keyOf(item: Item): Item {
    return pick(item, this.view.startKeyNames);
  }

  /** Puts one item in another's place; either may be absent. */
  replace(before: Item | undefined, after: Item | undefined): void {
    this.#replaceIn(this.view, before, after);
    for (const view of this.#indexes.values()) {
      if (!sharing(before, after, view.attributes)) this.#replaceIn(view, before, after);
    }
  }

  #replaceIn(view: View, before: Item | undefined, after: Item | undefined): void {
    const to = after && holds(view, after) ? view.positionOf(after) : undefined;
    if (before && holds(view, before) && !sharing(before, after, view.startKeyNames)) {
      const from = view.positionOf(before);
      if (from.partition !== to?.partition || from.sort !== to.sort) view.items.delete(from);
    }
    if (to) view.items.put(to, view.attributes ? pick(after!, view.attributes) : after!);
  }
}

/** Whether two items have these attributes in common, as an update leaves what it does not touch; `undefined` stands for all. */
function sharing(before: Item | undefined, after: Item | undefined, names: readonly string[] | undefined): boolean {
  return before !== undefined && after !== undefined && !!names?.every((name) => before[name] === after[name]);
}

/** An index holds only the items that have all attributes of its key. */
function holds(view: View, item: Item): boolean {
  return view.keySchema.every((key) => item[key.AttributeName] !== undefined);
}

function positionOf(item: Item, [hash, range]: KeySchema, tie: string): Position {
  const sort = range ? sortable(item[range.AttributeName]!) : '';
  return { partition: partitionOf(item[hash!.AttributeName]!), sort: `${sort}/${tie}` };
}

/** Partitions need an order, but no particular one; a number's own text may be one of several for it. */
export const partitionOf = (value: AttributeValue): string => value.S ?? sortable(value);

/** The type letter of a key attribute. */
export function typeOfKey({ AttributeDefinitions }: KeyedTable, name: string): string {
  return AttributeDefinitions.find((attribute) => attribute.AttributeName === name)!.AttributeType;
}

export function pick(item: Item, names: readonly string[]): Item {
  const picked: Item = {};
  for (const name of names) {
    if (item[name] !== undefined) picked[name] = item[name];
  }
  return picked;
}
