import type { Clock } from '../../common/clock.ts';
import type { Json, JsonObject } from '../core/service.ts';
import type { StreamRecord } from '../dynamodb/streams.ts';
import { compilePattern } from '../events/pattern.ts';
import type { InvokeResult } from './lambda.ts';

export interface EventSourceMapping {
  functionName: string;
  streamArn: string;
  batchSize: number;
  batchingWindowSeconds: number;
  /** Lanes within the shard; records of one item always take the same one. */
  parallelizationFactor: number;
  /** -1: without limit. */
  maximumRetryAttempts: number;
  /** -1: without limit. */
  maximumRecordAgeSeconds: number;
  bisectBatchOnFunctionError: boolean;
  reportBatchItemFailures: boolean;
  /** Event patterns; a record that matches none of them is dropped. Empty: all records pass. */
  filters: Json[];
  onFailureArn: string | undefined;
}

export interface EventSourceOptions {
  clock: Clock;
  signal: AbortSignal;
  invoke: (functionName: string, payload: Json) => Promise<InvokeResult>;
  /** Sends records that were given up to an on-failure destination. */
  sendOnFailure: (destinationArn: string, message: JsonObject) => Promise<unknown>;
  /** Called for records given up without such a destination. */
  report: (message: string) => void;
}

interface Arrived {
  record: StreamRecord;
  arrivedAt: number;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Brings a stream's records to a function, in order, in batches. The stream has one shard. A batch that fails holds its
 * lane up until it passes, is given up, or grows too old: order is kept before anything else.
 */
export function createEventSource(mapping: EventSourceMapping, options: EventSourceOptions) {
  const { clock, signal } = options;
  const filters = mapping.filters.map(compilePattern);
  const lanes = Array.from({ length: mapping.parallelizationFactor }, () => ({
    waiting: [] as Arrived[],
    busy: false,
  }));

  async function work(lane: (typeof lanes)[number]): Promise<void> {
    lane.busy = true;
    while (lane.waiting.length > 0 && !signal.aborted) {
      if (mapping.batchingWindowSeconds > 0 && lane.waiting.length < mapping.batchSize) {
        await clock.sleep(mapping.batchingWindowSeconds * 1_000, signal);
      }
      await deliver(lane.waiting.splice(0, mapping.batchSize), 0);
    }
    lane.busy = false;
  }

  /** `retries` of the whole batch this is, or is a part of; splitting a batch in two does not count as one. */
  async function deliver(batch: Arrived[], retries: number): Promise<void> {
    let rest = batch;
    for (let attempt = retries; rest.length > 0 && !signal.aborted; attempt += 1) {
      rest = await giveUpAged(rest, attempt);
      if (rest.length === 0) return;
      const result = await options.invoke(mapping.functionName, {
        Records: rest.map(({ record }) => record as unknown as Json),
      });
      const failed = firstFailure(rest, result);
      if (failed === undefined || signal.aborted) return;
      rest = rest.slice(failed);
      const limit = mapping.maximumRetryAttempts;
      if (mapping.bisectBatchOnFunctionError && failed === 0 && rest.length > 1) {
        const middle = Math.ceil(rest.length / 2);
        await pause(attempt);
        await deliver(rest.slice(0, middle), attempt);
        rest = rest.slice(middle);
        attempt -= 1;
      } else if (limit >= 0 && attempt >= limit) {
        return giveUp(rest, 'RetryAttemptsExhausted', attempt + 1);
      } else {
        await pause(attempt);
      }
    }
  }

  const pause = (attempt: number) => clock.sleep(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt), signal);

  /** Index of the first record that must be tried again: the checkpoint. undefined when all went well. */
  function firstFailure(batch: Arrived[], result: InvokeResult): number | undefined {
    if (result.error !== undefined) return 0;
    if (!mapping.reportBatchItemFailures) return undefined;
    const answer = result.payload as { batchItemFailures?: { itemIdentifier?: string }[] | null } | null;
    const failures = answer?.batchItemFailures ?? [];
    const indexes = failures.map(({ itemIdentifier }) =>
      batch.findIndex(({ record }) => record.dynamodb.SequenceNumber === itemIdentifier),
    );
    // An identifier that names no record of the batch (-1) fails the whole of it.
    return indexes.length === 0 ? undefined : Math.max(0, Math.min(...indexes));
  }

  async function giveUpAged(batch: Arrived[], attempts: number): Promise<Arrived[]> {
    const limit = mapping.maximumRecordAgeSeconds;
    if (limit < 0) return batch;
    const firstYoung = batch.findIndex(({ arrivedAt }) => clock.now() - arrivedAt <= limit * 1_000);
    const aged = firstYoung < 0 ? batch : batch.slice(0, firstYoung);
    if (aged.length > 0) await giveUp(aged, 'RecordAgeExceeded', attempts);
    return batch.slice(aged.length);
  }

  async function giveUp(batch: Arrived[], condition: string, attempts: number): Promise<void> {
    const [first, last] = [batch[0] as Arrived, batch.at(-1) as Arrived];
    const { functionName, onFailureArn, streamArn } = mapping;
    if (onFailureArn === undefined) {
      return options.report(`${functionName} lost ${batch.length} records of ${streamArn}: ${condition}`);
    }
    try {
      await options.sendOnFailure(onFailureArn, {
        version: '1.0',
        timestamp: new Date(clock.now()).toISOString(),
        requestContext: { functionArn: functionName, condition, approximateInvokeCount: attempts },
        DDBStreamBatchInfo: {
          shardId: 'shardId-00000000000000000000-00000000',
          startSequenceNumber: first.record.dynamodb.SequenceNumber,
          endSequenceNumber: last.record.dynamodb.SequenceNumber,
          approximateArrivalOfFirstRecord: new Date(first.arrivedAt).toISOString(),
          approximateArrivalOfLastRecord: new Date(last.arrivedAt).toISOString(),
          batchSize: batch.length,
          streamArn,
        },
      });
    } catch (error) {
      options.report(
        `${functionName} lost ${batch.length} records of ${streamArn}, for its destination failed: ${error}`,
      );
    }
  }

  return {
    push(record: StreamRecord): void {
      if (filters.length > 0 && !filters.some((matches) => matches(record as unknown as Json))) return;
      const lane = lanes[laneOf(record.dynamodb.Keys, lanes.length)] as (typeof lanes)[number];
      lane.waiting.push({ record, arrivedAt: clock.now() });
      if (!lane.busy) void work(lane);
    },
  };
}

function laneOf(keys: object, lanes: number): number {
  let hash = 0;
  for (const character of JSON.stringify(keys)) hash = (hash * 31 + (character.codePointAt(0) as number)) >>> 0;
  return hash % lanes;
}
