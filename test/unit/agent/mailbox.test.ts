import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, it } from 'vitest';
import { dynamoMailbox, type Mailbox } from '../../../agent/mailbox.ts';
import { commitRecordKey, reportKey, taskKey } from '../../../contract/mailbox.ts';
import type { Report } from '../../../contract/reports.ts';
import { mailboxTable, TABLE } from './dynamo.ts';

const HOST = 'AROAHOST:mi-0123456789abcdef0';
const REQUEST = 'web01-5f2c.precopy.source.1';
const MIGRATION = 'web01-5f2c';
const ME = 'me';

let table: Awaited<ReturnType<typeof mailboxTable>>;
let mailbox: Mailbox;
beforeEach(async () => {
  table = await mailboxTable();
  const { client, clock } = table;
  mailbox = dynamoMailbox({ client, commitClient: client, table: TABLE, mailbox: HOST, clock });
});

const put = (Item: Record<string, unknown>) => table.client.send(new PutCommand({ TableName: TABLE, Item }));
const get = async (Key: Record<string, string>) =>
  (await table.client.send(new GetCommand({ TableName: TABLE, Key }))).Item;

describe('an order', () => {
  it('is read as it was written, or not there', async () => {
    await put({ ...taskKey(HOST, REQUEST), task: { stage: 'precopy' } });
    expect(await mailbox.readTask(REQUEST)).toEqual({ stage: 'precopy' });
    expect(await mailbox.readTask('web01-5f2c.precopy.source.2')).toBeUndefined();
  });

  it('can be claimed once, and only when it is there', async () => {
    await put({ ...taskKey(HOST, REQUEST), task: {} });
    expect(await Promise.all([mailbox.claim(REQUEST), mailbox.claim(REQUEST)])).toEqual([{ task: {} }, undefined]);
    expect(await get(taskKey(HOST, REQUEST))).toMatchObject({ claimedAt: '2026-01-01T00:00:00.000Z' });
    expect(await mailbox.claim('web01-5f2c.precopy.source.2')).toBeUndefined();
  });

  it('is claimed although the answer to the first try is lost, and by nobody else', async () => {
    await put({ ...taskKey(HOST, REQUEST), task: {} });
    const { retrying, client, clock, wire } = table;
    const onHost = dynamoMailbox({ client: retrying, commitClient: client, table: TABLE, mailbox: HOST, clock });
    let tries = 0;
    wire.fault = (operation) => (operation === 'UpdateItem' && ++tries === 1 ? 'denied' : 'none');
    expect(await onHost.claim(REQUEST)).toEqual({ task: {} });
    expect(tries).toBe(2);
    expect(await mailbox.claim(REQUEST)).toBeUndefined();
  });
});

describe('a report', () => {
  const report = (sequence: number, kind: 'progress' | 'failed' = 'progress') =>
    ({ requestId: REQUEST, sequence, kind }) as unknown as Report;
  const stored = async () => ((await get(reportKey(HOST, REQUEST)))?.report as Report).sequence;

  it('takes the place of an older one, never of a newer one', async () => {
    expect(await mailbox.report(report(0))).toBe(true);
    expect(await mailbox.report(report(2))).toBe(true);
    expect(await mailbox.report(report(1))).toBe(false);
    expect(await stored()).toBe(2);
  });

  it('that is final stays, whatever comes', async () => {
    await mailbox.report(report(0));
    expect(await mailbox.report(report(1, 'failed'))).toBe(true);
    expect(await mailbox.report(report(2))).toBe(false);
    expect(await mailbox.report(report(3, 'failed'))).toBe(false);
    expect(await stored()).toBe(1);
  });

  it('is kept for a month', async () => {
    await mailbox.report(report(0));
    const { expiresAt } = (await get(reportKey(HOST, REQUEST)))!;
    expect(expiresAt).toBe(Date.parse('2026-01-31T00:00:00Z') / 1_000);
  });

  it('rejects when AWS says no, so that it is tried again', async () => {
    const { client, clock } = table;
    const elsewhere = dynamoMailbox({ client, commitClient: client, table: 'Other', mailbox: HOST, clock });
    await expect(elsewhere.report(report(0))).rejects.toThrow();
  });
});

describe('the commit', () => {
  const commitRecord = (state: string, more = {}) => put({ ...commitRecordKey(HOST, MIGRATION), state, ...more });
  const stateNow = () => mailbox.readCommitRecord(MIGRATION);

  it('turns an open commit record into a committed one, and says whose', async () => {
    await commitRecord('OPEN');
    expect(await mailbox.commit(MIGRATION, ME)).toBe('committed');
    expect(await get(commitRecordKey(HOST, MIGRATION))).toMatchObject({
      state: 'COMMITTED',
      committedBy: ME,
      committedAt: '2026-01-01T00:00:00.000Z',
    });
  });

  it.each([
    ['revoked', { state: 'REVOKED' }, 'revoked'],
    ["another mover's", { state: 'COMMITTED', committedBy: 'other' }, 'revoked'],
    ['our own from before', { state: 'COMMITTED', committedBy: ME }, 'committed'],
  ] as const)('finds a commit record that is %s', async (_, { state, ...more }, outcome) => {
    await commitRecord(state, more);
    expect(await mailbox.commit(MIGRATION, ME)).toBe(outcome);
    expect(await stateNow()).toBe(state);
  });

  it('without a commit record is refused', async () => {
    expect(await mailbox.commit(MIGRATION, ME)).toBe('revoked');
    expect(await stateNow()).toBeUndefined();
  });

  it.each([['lost'], ['unanswered']] as const)('is tried again when the first try is %s', async (fault) => {
    await commitRecord('OPEN');
    let tries = 0;
    table.wire.fault = (operation) => (operation === 'UpdateItem' && ++tries === 1 ? fault : 'none');
    const commit = mailbox.commit(MIGRATION, ME);
    await table.clock.advance(1_000);

    expect(await commit).toBe('committed');
    expect(tries).toBe(2);
  });

  it.each([
    ['lost', 'OPEN'],
    ['unanswered', 'COMMITTED'],
  ] as const)('is unknown after 1 s when every try is %s', async (fault, left) => {
    await commitRecord('OPEN');
    table.wire.fault = (operation) => (operation === 'UpdateItem' ? fault : 'none');
    const outcomes: string[] = [];
    void mailbox.commit(MIGRATION, ME).then((outcome) => outcomes.push(outcome));
    await table.clock.advance(990);
    expect(outcomes).toEqual([]);
    await table.clock.advance(10);

    expect(outcomes).toEqual(['unknown']);
    expect(await stateNow()).toBe(left);
  });

  it('takes an error that is no answer to the question for none', async () => {
    const { client, clock } = table;
    const elsewhere = dynamoMailbox({ client, commitClient: client, table: 'Other', mailbox: HOST, clock });
    const commit = elsewhere.commit(MIGRATION, ME);
    await clock.advance(1_000);
    expect(await commit).toBe('unknown');
  });
});
