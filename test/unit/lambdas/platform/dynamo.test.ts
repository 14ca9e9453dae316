import { ConditionalCheckFailedException, TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import { beforeEach, describe, expect, it, vi } from 'vitest';

const send = vi.fn<(command: { input: Record<string, unknown> }) => Promise<unknown>>();
const pauses: number[] = [];
vi.mock('../../../../lambdas/platform/runtime.ts', () => ({
  dynamo: { send },
  random: () => 0.5,
  sleep: async (ms: number) => void pauses.push(ms),
}));
const { attempts, getItems, queryAll, transact, unlessConditionFails } = await import(
  '../../../../lambdas/platform/dynamo.ts'
);

beforeEach(() => {
  send.mockReset();
  pauses.length = 0;
});

const cancelled = (...codes: string[]) =>
  new TransactionCanceledException({
    message: 'cancelled',
    $metadata: {},
    CancellationReasons: codes.map((Code) => ({ Code })),
  });
const writes = ['first', 'second'].map((name) => ({ name, write: {} }));

describe('a conditional write', () => {
  it('gives its answer, or nothing when its condition does not hold, and fails with any other error', async () => {
    expect(await unlessConditionFails(Promise.resolve('written'))).toBe('written');
    const refused = new ConditionalCheckFailedException({ message: 'no', $metadata: {} });
    expect(await unlessConditionFails(Promise.reject(refused))).toBeUndefined();
    await expect(unlessConditionFails(Promise.reject(new Error('down')))).rejects.toThrow('down');
  });
});

describe('a transaction', () => {
  it('names the writes whose condition does not hold, without another attempt', async () => {
    send.mockRejectedValueOnce(cancelled('None', 'ConditionalCheckFailed'));
    expect(await transact(writes)).toEqual(['second']);
    expect(pauses).toEqual([]);
  });

  it('is tried again after a conflict, with growing pauses', async () => {
    for (let n = 0; n < 3; n++) send.mockRejectedValueOnce(cancelled('TransactionConflict', 'None'));
    send.mockResolvedValueOnce({});
    expect(await transact(writes)).toEqual([]);
    expect(pauses).toEqual([12.5, 25, 50]);
  });

  it('fails with the conflict that does not end', async () => {
    send.mockRejectedValue(cancelled('TransactionConflict', 'None'));
    await expect(transact(writes)).rejects.toThrow('cancelled');
    expect(send).toHaveBeenCalledTimes(6);
  });
});

it('a query has the items of all pages', async () => {
  send.mockResolvedValueOnce({ Items: [1, 2], LastEvaluatedKey: { pk: 'here' } }).mockResolvedValueOnce({ Items: [3] });
  expect(await queryAll({ TableName: 't' })).toEqual([1, 2, 3]);
  expect(send.mock.calls[1]?.[0].input.ExclusiveStartKey).toEqual({ pk: 'here' });
});

describe('a read of several keys', () => {
  it('asks again for what was left unprocessed', async () => {
    send
      .mockResolvedValueOnce({ Responses: { t: [{ pk: 'a' }] }, UnprocessedKeys: { t: { Keys: [{ pk: 'b' }] } } })
      .mockResolvedValueOnce({ Responses: { t: [{ pk: 'b' }] } });
    expect(await getItems('t', [{ pk: 'a' }, { pk: 'b' }])).toEqual([{ pk: 'a' }, { pk: 'b' }]);
    expect(pauses).toHaveLength(1);
  });

  it('fails rather than take what stays unprocessed for absent', async () => {
    send.mockResolvedValue({ UnprocessedKeys: { t: { Keys: [{ pk: 'a' }] } } });
    await expect(getItems('t', [{ pk: 'a' }])).rejects.toThrow('1 of 1 keys');
  });

  it('of none asks nothing', async () => {
    expect(await getItems('t', [])).toEqual([]);
    expect(send).not.toHaveBeenCalled();
  });
});

it('attempts end with the first result, or with none after the last', async () => {
  const results = [undefined, 'second'];
  expect(await attempts(async () => results.shift())).toBe('second');
  expect(await attempts(async () => undefined, 3)).toBeUndefined();
});
