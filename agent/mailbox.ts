import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { type DynamoDBDocumentClient, GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { type Clock, within } from '../common/clock.ts';
import { type CommitRecordState, commitRecordKey, reportKey, taskKey } from '../contract/mailbox.ts';
import type { Report } from '../contract/reports.ts';

/** This host's partition of the Mailbox table. Every call but `commit` rejects when AWS cannot be reached. */
export interface Mailbox {
  /** The task as it is stored, not yet validated; undefined when there is none. */
  readTask(requestId: string): Promise<unknown>;
  /**
   * The task, for exactly one caller; undefined for every other, and when there is none. SSM may deliver a command twice; only the
   * delivery that claims the task may carry it out.
   */
  claim(requestId: string): Promise<{ task: unknown } | undefined>;
  /** False when the report came too late: a newer or a final one is there already. */
  report(report: Report): Promise<boolean>;
  /** Whether the request has its last report. */
  ended(requestId: string): Promise<boolean>;
  /** undefined when there is no commit record. */
  readCommitRecord(migrationId: string): Promise<CommitRecordState | undefined>;
  /**
   * The handover's one decision: OPEN -> COMMITTED. `unknown` means that AWS gave no answer within the patience, so the
   * commit record may be either. Never rejects, and asking again after `unknown` is safe: the mover's own commit counts.
   */
  commit(migrationId: string, moverId: string): Promise<CommitOutcome>;
}
export type CommitOutcome = 'committed' | 'revoked' | 'unknown';

/** The guest stands still while the commit is under way, so AWS gets this long to answer and no longer. */
export const COMMIT_PATIENCE_MS = 1_000;
/** DynamoDB answers in under 10 ms as a rule; a lost packet should cost one retry, not all of the patience. */
const COMMIT_ATTEMPT_MS = 300;
const COMMIT_PAUSE_MS = 20;
/** Reports are kept for a month, as SSM keeps its commands. */
const HISTORY_SECONDS = 30 * 86_400;

export interface MailboxOptions {
  client: DynamoDBDocumentClient;
  /** For commits only: shares the connections of `client`, but does not retry by itself (the patience is counted here). */
  commitClient: DynamoDBDocumentClient;
  table: string;
  mailbox: string;
  clock: Clock;
}

export function dynamoMailbox({ client, commitClient, table, mailbox, clock }: MailboxOptions): Mailbox {
  const get = async (Key: Record<string, string>) =>
    (await client.send(new GetCommand({ TableName: table, Key, ConsistentRead: true }))).Item;
  const now = () => new Date(clock.now()).toISOString();

  return {
    async readTask(requestId) {
      return (await get(taskKey(mailbox, requestId)))?.task;
    },

    async claim(requestId) {
      // Of this one call: when the answer to its first try is lost, the client's next one must not take it for another's.
      const claimant = randomUUID();
      const claimed = await unlessConditionFails(
        client.send(
          new UpdateCommand({
            TableName: table,
            Key: taskKey(mailbox, requestId),
            UpdateExpression: 'SET claimedAt = :now, claimedBy = :me',
            ConditionExpression: 'attribute_exists(pk) AND (attribute_not_exists(claimedAt) OR claimedBy = :me)',
            ExpressionAttributeValues: { ':now': now(), ':me': claimant },
            ReturnValues: 'ALL_NEW',
          }),
        ),
      );
      return claimed && { task: claimed.Attributes?.task };
    },

    async ended(requestId) {
      const kind = (await get(reportKey(mailbox, requestId)))?.report?.kind;
      return kind !== undefined && kind !== 'progress';
    },

    async report(report) {
      const written = await unlessConditionFails(
        client.send(
          new UpdateCommand({
            TableName: table,
            Key: reportKey(mailbox, report.requestId),
            UpdateExpression: 'SET #report = :report, expiresAt = :expiresAt',
            ConditionExpression:
              'attribute_not_exists(#report) OR (#report.#kind = :progress AND #report.#sequence < :sequence)',
            ExpressionAttributeNames: { '#report': 'report', '#kind': 'kind', '#sequence': 'sequence' },
            ExpressionAttributeValues: {
              ':report': report,
              ':progress': 'progress',
              ':sequence': report.sequence,
              ':expiresAt': Math.floor(clock.now() / 1_000) + HISTORY_SECONDS,
            },
          }),
        ),
      );
      return written !== undefined;
    },

    async readCommitRecord(migrationId) {
      return (await get(commitRecordKey(mailbox, migrationId)))?.state as CommitRecordState | undefined;
    },

    async commit(migrationId, moverId) {
      const write = new UpdateCommand({
        TableName: table,
        Key: commitRecordKey(mailbox, migrationId),
        UpdateExpression: 'SET #state = :committed, committedAt = :now, committedBy = :mover',
        ConditionExpression: '#state = :open',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':open': 'OPEN', ':committed': 'COMMITTED', ':now': now(), ':mover': moverId },
        ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
      });
      const deadline = clock.now() + COMMIT_PATIENCE_MS;
      while (clock.now() < deadline) {
        const attemptMs = Math.min(COMMIT_ATTEMPT_MS, deadline - clock.now());
        try {
          await attempt(clock, attemptMs, (abortSignal) => commitClient.send(write, { abortSignal }));
          return 'committed';
        } catch (error) {
          if (error instanceof ConditionalCheckFailedException) return isOurs(error, moverId) ? 'committed' : 'revoked';
        }
        await clock.sleep(Math.min(COMMIT_PAUSE_MS, deadline - clock.now()));
      }
      return 'unknown';
    },
  };
}

/** An earlier attempt of this very mover may have reached the table though its answer never came back. */
function isOurs({ Item }: ConditionalCheckFailedException, moverId: string): boolean {
  return Item?.state?.S === 'COMMITTED' && Item.committedBy?.S === moverId;
}

async function unlessConditionFails<T>(write: Promise<T>): Promise<T | undefined> {
  try {
    return await write;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return undefined;
    throw error;
  }
}

/** Runs `action` for at most `ms`; the promise is settled by then even if the action ignores its signal. */
function attempt<T>(clock: Clock, ms: number, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const given = new AbortController();
  return within(clock, ms, action(given.signal), () => {
    given.abort();
    throw new Error(`no answer within ${ms} ms`);
  });
}
