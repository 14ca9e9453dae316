import type { Clock } from '../../common/clock.ts';
import { AwsError } from '../core/service.ts';
import type { StreamViewType, Table } from './table.ts';
import { equalItems, type Item, sizeAtMost } from './values.ts';
import type { Plan } from './writes.ts';

/** One change of one item, as an event source mapping hands it to a function. */
export type StreamRecord = {
  eventID: string;
  eventVersion: '1.1';
  eventSource: 'aws:dynamodb';
  eventSourceARN: string;
  eventName: 'INSERT' | 'MODIFY' | 'REMOVE';
  awsRegion: string;
  dynamodb: {
    /** Seconds since the epoch. */
    ApproximateCreationDateTime: number;
    Keys: Item;
    NewImage?: Item;
    OldImage?: Item;
    SequenceNumber: string;
    /** At most; see `sizeAtMost`. */
    SizeBytes: number;
    StreamViewType: StreamViewType;
  };
};

export type StreamListener = (record: StreamRecord) => void;

/** Turns writes into stream records and hands them out at once, in the order of the writes. */
export class Streams {
  readonly #clock: Clock;
  readonly #region: string;
  readonly #listeners = new WeakMap<Table, Set<StreamListener>>();
  #sequence = 0;

  constructor(clock: Clock, region: string) {
    this.#clock = clock;
    this.#region = region;
  }

  /** Fails with ValidationException when the table has no stream. Returns what ends the subscription. */
  subscribe(table: Table, listener: StreamListener): () => void {
    if (table.streamArn === undefined) {
      throw new AwsError('ValidationException', `Table ${table.definition.TableName} has no stream enabled.`);
    }
    const listeners = this.#listeners.get(table) ?? new Set();
    this.#listeners.set(table, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** A write that changes nothing leaves no record. */
  publish({ table, before, after }: Plan): void {
    const listeners = this.#listeners.get(table);
    if (!listeners || before === after || (before && after && equalItems(before, after))) return;
    const record = this.#record(table, before, after);
    for (const listener of listeners) listener(record);
  }

  #record(table: Table, before: Item | undefined, after: Item | undefined): StreamRecord {
    this.#sequence += 1;
    const SequenceNumber = String(this.#sequence).padStart(21, '0');
    const view = table.definition.StreamSpecification!.StreamViewType!;
    const images = {
      ...(after && (view === 'NEW_IMAGE' || view === 'NEW_AND_OLD_IMAGES') && { NewImage: after }),
      ...(before && (view === 'OLD_IMAGE' || view === 'NEW_AND_OLD_IMAGES') && { OldImage: before }),
    };
    const Keys = table.keyOf((after ?? before)!);
    return {
      eventID: this.#sequence.toString(16).padStart(32, '0'),
      eventVersion: '1.1',
      eventSource: 'aws:dynamodb',
      eventSourceARN: table.streamArn!,
      eventName: before ? (after ? 'MODIFY' : 'REMOVE') : 'INSERT',
      awsRegion: this.#region,
      dynamodb: {
        ApproximateCreationDateTime: Math.floor(this.#clock.now() / 1000),
        Keys,
        ...images,
        SequenceNumber,
        // Made only when it is read: most records pass no filter.
        get SizeBytes() {
          return [Keys, ...Object.values(images)].reduce((size, item) => size + sizeAtMost(item), 0);
        },
        StreamViewType: view,
      },
    };
  }
}
