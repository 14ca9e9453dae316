import { beforeEach, describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { StreamRecord } from '../../../../embedded-aws/dynamodb/streams.ts';
import { createEventSource, type EventSourceMapping } from '../../../../embedded-aws/lambda/event-source.ts';
import type { InvokeResult } from '../../../../embedded-aws/lambda/lambda.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const record = (number: number, key = 'k'): StreamRecord => ({
  eventID: `event-${number}`,
  eventVersion: '1.1',
  eventSource: 'aws:dynamodb',
  eventSourceARN: 'arn:stream',
  eventName: 'INSERT',
  awsRegion: 'eu-north-1',
  dynamodb: {
    ApproximateCreationDateTime: 0,
    Keys: { pk: { S: key } },
    SequenceNumber: String(number),
    SizeBytes: 1,
    StreamViewType: 'NEW_IMAGE',
  },
});

const error: InvokeResult = { error: { errorType: 'Error', errorMessage: 'no', trace: [] } };
const fine: InvokeResult = { payload: null };
const failed = (...numbers: number[]): InvokeResult => ({
  payload: { batchItemFailures: numbers.map((number) => ({ itemIdentifier: String(number) })) },
});

describe('an event source mapping', () => {
  let clock: VirtualClock;
  let stop: AbortController;
  /** The sequence numbers of each batch the function got. */
  let batches: number[][];
  let sent: { destination: string; message: JsonObject }[];
  let reports: string[];

  beforeEach(() => {
    clock = new VirtualClock();
    stop = new AbortController();
    batches = [];
    sent = [];
    reports = [];
  });

  function source(answer: (batch: number[], call: number) => InvokeResult, mapping: Partial<EventSourceMapping> = {}) {
    return createEventSource(
      {
        functionName: 'relay',
        streamArn: 'arn:stream',
        batchSize: 4,
        batchingWindowSeconds: 0,
        parallelizationFactor: 1,
        maximumRetryAttempts: 2,
        maximumRecordAgeSeconds: -1,
        bisectBatchOnFunctionError: false,
        reportBatchItemFailures: true,
        filters: [],
        onFailureArn: 'arn:dead',
        ...mapping,
      },
      {
        clock,
        signal: stop.signal,
        async invoke(_, payload) {
          const { Records } = payload as unknown as { Records: StreamRecord[] };
          const batch = Records.map(({ dynamodb }) => Number(dynamodb.SequenceNumber));
          batches.push(batch);
          await clock.sleep(10);
          return answer(batch, batches.length);
        },
        sendOnFailure: async (destination, message) => sent.push({ destination, message }),
        report: (message) => reports.push(message),
      },
    );
  }

  async function run(events: ReturnType<typeof source>, count: number): Promise<void> {
    for (let number = 1; number <= count; number += 1) events.push(record(number));
    await clock.runUntilIdle();
  }

  it('delivers in order, in batches, one at a time', async () => {
    await run(
      source(() => fine),
      6,
    );
    expect(batches).toEqual([[1], [2, 3, 4, 5], [6]]);
    expect(clock.pending).toBe(0);
  });

  it('waits for a batch to fill as long as the window allows', async () => {
    await run(
      source(() => fine, { batchingWindowSeconds: 1 }),
      3,
    );
    expect(batches).toEqual([[1, 2, 3]]);
  });

  it('resumes at the lowest failed record, and keeps order', async () => {
    const events = source((_, call) => (call === 2 ? failed(5, 4) : fine));
    await run(events, 5);
    expect(batches).toEqual([[1], [2, 3, 4, 5], [4, 5]]);
    expect(sent).toEqual([]);
  });

  it.each([
    ['an error', error],
    ['an identifier of no record', failed(99)],
    ['an empty identifier', { payload: { batchItemFailures: [{ itemIdentifier: '' }] } } as InvokeResult],
  ])('tries the whole batch again after %s', async (_, answer) => {
    const events = source((__, call) => (call === 2 ? answer : fine));
    await run(events, 3);
    expect(batches).toEqual([[1], [2, 3], [2, 3]]);
  });

  it.each<[string, Json]>([
    ['nothing', null],
    ['an empty object', {}],
    ['no failures', { batchItemFailures: [] }],
  ])('takes %s for success', async (_, payload) => {
    await run(
      source(() => ({ payload })),
      1,
    );
    expect(batches).toEqual([[1]]);
  });

  it('ignores item failures unless the mapping reports them', async () => {
    await run(
      source(() => failed(1), { reportBatchItemFailures: false }),
      1,
    );
    expect(batches).toEqual([[1]]);
  });

  it('gives a failing batch up after its retries, notifies the destination, and continues', async () => {
    const events = source((batch) => (batch.includes(2) ? error : fine), { batchSize: 2 });
    await run(events, 5);
    expect(batches).toEqual([[1], [2, 3], [2, 3], [2, 3], [4, 5]]);
    expect(sent).toMatchObject([
      {
        destination: 'arn:dead',
        message: {
          requestContext: { condition: 'RetryAttemptsExhausted', approximateInvokeCount: 3 },
          DDBStreamBatchInfo: {
            startSequenceNumber: '2',
            endSequenceNumber: '3',
            batchSize: 2,
            streamArn: 'arn:stream',
          },
        },
      },
    ]);
  });

  it('splits a failing batch until only the poisonous record is given up', async () => {
    const events = source((batch) => (batch.includes(4) ? error : fine), { bisectBatchOnFunctionError: true });
    await run(events, 6);
    expect(batches).toEqual([[1], [2, 3, 4, 5], [2, 3], [4, 5], [4], [4], [4], [5], [6]]);
    expect(sent).toHaveLength(1);
    expect(sent[0]?.message).toMatchObject({ DDBStreamBatchInfo: { startSequenceNumber: '4', batchSize: 1 } });
  });

  it('gives up records that grew too old', async () => {
    const events = source(() => error, { maximumRetryAttempts: -1, maximumRecordAgeSeconds: 60 });
    await run(events, 1);
    expect(batches.length).toBeGreaterThan(3);
    expect(sent[0]?.message).toMatchObject({ requestContext: { condition: 'RecordAgeExceeded' } });
  });

  it('reports lost records when there is no destination', async () => {
    await run(
      source(() => error, { onFailureArn: undefined }),
      1,
    );
    expect(reports).toEqual(['relay lost 1 records of arn:stream: RetryAttemptsExhausted']);
  });

  it('drops what the filters do not match', async () => {
    const events = source(() => fine, { filters: [{ dynamodb: { Keys: { pk: { S: [{ prefix: 'REPORT#' }] } } } }] });
    events.push(record(1, 'ORDER#1'));
    events.push(record(2, 'REPORT#1'));
    await clock.runUntilIdle();
    expect(batches).toEqual([[2]]);
  });

  it('keeps the order of each item when several lanes work', async () => {
    const events = source((batch) => (batch.includes(1) ? error : fine), { parallelizationFactor: 8, batchSize: 1 });
    for (const [index, key] of ['a', 'b', 'a', 'b'].entries()) events.push(record(index + 1, key));
    await clock.runUntilIdle();
    expect(batches.flat().filter((number) => number % 2 === 1)).toEqual([1, 1, 1, 3]);
    expect(batches.flat().indexOf(4)).toBeLessThan(batches.flat().indexOf(3));
  });

  it('stops without giving anything up', async () => {
    const events = source(() => error, { maximumRetryAttempts: -1 });
    events.push(record(1));
    await clock.advance(1_000);
    stop.abort();
    await clock.runUntilIdle();
    expect(clock.pending).toBe(0);
    expect(sent).toEqual([]);
  });
});
