import type { Item } from './values.ts';

/** An item's partition, and its place within. Both sort as the key values do. */
export interface Position {
  readonly partition: string;
  readonly sort: string;
}

export interface Entry extends Position {
  readonly item: Item;
}

/** The items of a table or of one of its indexes, each partition in the order of the sort key. */
export class Collection {
  readonly #partitions = new Map<string, Entry[]>();
  #order: string[] | undefined;

  get(at: Position): Item | undefined {
    const entries = this.partition(at.partition);
    const found = entries[firstNotBefore(entries, at.sort)];
    return found?.sort === at.sort ? found.item : undefined;
  }

  put(at: Position, item: Item): void {
    let entries = this.#partitions.get(at.partition);
    if (!entries) {
      entries = [];
      this.#partitions.set(at.partition, entries);
      this.#order = undefined;
    }
    const index = firstNotBefore(entries, at.sort);
    entries.splice(index, entries[index]?.sort === at.sort ? 1 : 0, { ...at, item });
  }

  delete(at: Position): void {
    const entries = this.#partitions.get(at.partition);
    if (!entries) return;
    const index = firstNotBefore(entries, at.sort);
    if (entries[index]?.sort === at.sort) entries.splice(index, 1);
    if (entries.length > 0) return;
    this.#partitions.delete(at.partition);
    this.#order = undefined;
  }

  partition(partition: string): readonly Entry[] {
    return this.#partitions.get(partition) ?? [];
  }

  /** All entries behind a position, partition by partition. */
  *after(start: Position | undefined): Generator<Entry> {
    this.#order ??= [...this.#partitions.keys()].sort();
    for (const partition of this.#order) {
      if (start && partition < start.partition) continue;
      const entries = this.partition(partition);
      const from = partition === start?.partition ? firstAfter(entries, start.sort) : 0;
      yield* entries.slice(from);
    }
  }

  get size(): number {
    let size = 0;
    for (const entries of this.#partitions.values()) size += entries.length;
    return size;
  }
}

export function firstNotBefore(entries: readonly Entry[], sort: string): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle]!.sort < sort) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function firstAfter(entries: readonly Entry[], sort: string): number {
  const index = firstNotBefore(entries, sort);
  return entries[index]?.sort === sort ? index + 1 : index;
}
