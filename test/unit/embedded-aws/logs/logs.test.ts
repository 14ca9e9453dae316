import { beforeEach, expect, it } from 'vitest';
import type { Caller, JsonObject } from '../../../../embedded-aws/core/service.ts';
import { createLogs, LINES_KEPT, type Logs } from '../../../../embedded-aws/logs/logs.ts';

const GROUP = '/aws/lambda/work';
const caller: Caller = { arn: 'arn:me', userId: 'me', statements: [] };
let time: number;
let logs: Logs;

beforeEach(() => {
  time = 1_000;
  logs = createLogs({ now: () => time, region: 'eu-north-1', account: '111122223333' });
});

function put(...messages: string[]): void {
  for (const message of messages) {
    logs.put(GROUP, 'one', message);
    time += 1_000;
  }
}

const filter = (input: JsonObject) => logs.call('FilterLogEvents', { logGroupName: GROUP, ...input }, caller);
const messages = async (input: JsonObject) =>
  ((await filter(input)).events as { message: string }[]).map(({ message }) => message);

it('finds the lines with a term, quoted or not', async () => {
  put('{"id":"web-1"}', '{"id":"web-2"}');
  expect(await messages({ filterPattern: '"web-1"' })).toEqual(['{"id":"web-1"}']);
  expect(await messages({ filterPattern: 'web-2' })).toEqual(['{"id":"web-2"}']);
  expect(await messages({})).toHaveLength(2);
});

it('finds the lines of a span of time, ends included', async () => {
  put('a', 'b', 'c', 'd');
  expect(await messages({ startTime: 2_000, endTime: 3_000 })).toEqual(['b', 'c']);
});

it('gives pages', async () => {
  put('a', 'b', 'c');
  const first = await filter({ limit: 2 });
  expect(first.events).toMatchObject([{ message: 'a', timestamp: 1_000, logStreamName: 'one' }, { message: 'b' }]);
  const last = await filter({ limit: 2, nextToken: first.nextToken! });
  expect(last).toMatchObject({ events: [{ message: 'c' }] });
  expect(last.nextToken).toBeUndefined();
});

it('lists log groups by prefix', async () => {
  put('a');
  logs.put('/aws/lambda/other', 'one', 'a');
  const { logGroups } = await logs.call('DescribeLogGroups', { logGroupNamePrefix: '/aws/lambda/w' }, caller);
  expect(logGroups).toMatchObject([{ logGroupName: GROUP }]);
});

it('keeps a bounded number of lines, the newest', async () => {
  for (let line = 0; line < 3 * LINES_KEPT; line++) logs.put(GROUP, 'one', `line ${line}`);
  expect(await messages({ filterPattern: `"line ${3 * LINES_KEPT - 1}"` })).toHaveLength(1);
  expect(await messages({ filterPattern: '"line 0"' })).toHaveLength(0);
});

it('fails on what it does not implement, and on an unknown log group', async () => {
  put('a');
  await expect(filter({ filterPattern: '{ $.id = "web-1" }' })).rejects.toThrow('filter pattern');
  await expect(filter({ logStreamNames: ['one'] })).rejects.toThrow('logStreamNames');
  expect(() => logs.requiredPermissions('PutLogEvents', {})).toThrow('logs:PutLogEvents');
  await expect(filter({ logGroupName: 'none' })).rejects.toMatchObject({ code: 'ResourceNotFoundException' });
});
