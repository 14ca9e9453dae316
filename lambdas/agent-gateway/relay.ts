import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { DynamoDBRecord, DynamoDBStreamEvent } from 'aws-lambda';
import type { MigrationStatus } from '../../contract/api.ts';
import type { FailureCode } from '../../contract/errors.ts';
import type { Decision } from '../../contract/forecast.ts';
import { Report } from '../../contract/reports.ts';
import { addEvent, decisionItem, putEvent } from '../migrations/timeline.ts';
import { CONTROL, migrationKey, type RequestItem, requestKey } from '../platform/control-table.ts';
import { count, lambda, logger } from '../platform/function.ts';
import { dynamo } from '../platform/runtime.ts';
import { answer, getRequest } from './task-answer.ts';

const ORDER_REFUSED: readonly string[] = ['TaskInvalid', 'TaskMisdirected', 'TaskExpired'] satisfies FailureCode[];

const processor = new BatchProcessor(EventType.DynamoDBStreams);

/**
 * Carries what hosts report (the Mailbox table's stream) to the state machines, and shows people the progress.
 *
 * Only a report that lies in the mailbox of the host that was asked counts. What a host writes there is outside input: it
 * is checked against its schema, and a bad one is dropped and counted, since trying it again would not make it better.
 * Each record may come more than once.
 */
export const handler = lambda(async (event: DynamoDBStreamEvent, context) =>
  processPartialResponse(event, carryOrSay, processor, { context, throwOnFullBatchFailure: false }),
);

/** The batch processor turns an error into a retry without a word. */
async function carryOrSay(record: DynamoDBRecord): Promise<void> {
  try {
    await carry(record);
  } catch (error) {
    logger.error('A report could not be carried; it will be tried again.', error as Error);
    throw error;
  }
}

async function carry(record: DynamoDBRecord): Promise<void> {
  const image = record.dynamodb?.NewImage;
  if (record.eventName === 'REMOVE' || image === undefined) return;
  const item = unmarshall(image as Parameters<typeof unmarshall>[0]);
  if (!String(item.sk).startsWith('REPORT#')) return;
  const parsed = Report.safeParse(item.report);
  if (!parsed.success) return reject('malformed', { mailbox: item.pk, item: item.sk, issues: parsed.error.issues });
  const report = parsed.data;
  const request = await getRequest(report.migrationId, report.requestId);
  if (request === undefined) return reject('unknown request', { mailbox: item.pk, requestId: report.requestId });
  if (request.mailbox !== item.pk || item.sk !== `REPORT#${report.requestId}`) {
    return reject('not the host that was asked', {
      mailbox: item.pk,
      asked: request.mailbox,
      requestId: report.requestId,
    });
  }
  // The agent was given something it may not act on: a fault of ours, or somebody else's order. One that came so late that
  // nobody waits for its answer is no less wrong.
  if (report.kind === 'failed' && ORDER_REFUSED.includes(report.failure.code)) {
    logger.warn('An agent refused an order.', { requestId: report.requestId, failure: report.failure });
    count('TaskRefused', { code: report.failure.code });
  }
  await keep(request, report);
  if (!request.open) return;
  await show(request, report);
  await answer(request, report);
}

function reject(why: string, detail: Record<string, unknown>): void {
  logger.warn(`Report rejected: ${why}.`, detail);
  count('ReportRejected', { why });
}

/**
 * What belongs to the record even when the request is closed, because it was answered another way or came to nothing: what was
 * decided, and what preflight found. Doing so again changes nothing.
 */
async function keep(request: RequestItem, report: Report): Promise<void> {
  const { migrationId, role } = request;
  await tellDecisions(request, report.decisions);
  if (report.kind !== 'succeeded' || report.result.stage !== 'preflight') return;
  const { checks, measured, forecast } = report.result;
  await set(
    migrationId,
    { [`checks.${role}`]: checks, ...(measured && { measured }), ...(forecast && { forecast }) },
    { evenEnded: true },
  );
}

/**
 * Each report has all decisions of its request so far, and may come late or again: a decision's place in the list is its name, and
 * only those not told yet are written.
 */
async function tellDecisions(request: RequestItem, decisions: readonly Decision[]): Promise<void> {
  const told = request.decisionsTold ?? 0;
  if (decisions.length <= told) return;
  const { migrationId, requestId, hostId } = request;
  for (const [index, { at, event, detail }] of decisions.entries()) {
    if (index < told) continue;
    await putEvent(
      decisionItem(migrationId, { name: `${requestId}.${index}`, at, event, detail: { host: hostId, ...detail } }),
    );
  }
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: requestKey(migrationId, requestId),
      UpdateExpression: 'SET decisionsTold = :told',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeValues: { ':told': decisions.length },
    }),
  );
}

/** Puts what a person wants to see into the record and its timeline. Evacuations have no record; theirs is the execution. */
async function show(request: RequestItem, report: Report): Promise<void> {
  const { migrationId, role, hostId } = request;
  if (report.kind === 'progress') {
    // The cutover's own first report may still say so.
    const held = report.progress.phase === 'held' && request.stage === 'precopy';
    await set(migrationId, { progress: report.progress, ...(held && { status: 'HELD' satisfies MigrationStatus }) });
    return;
  }
  if (report.kind === 'failed') {
    await addEvent(migrationId, `${request.stage} failed`, { host: hostId, role, ...report.failure });
    return;
  }
  await addEvent(migrationId, `${request.stage} done`, { host: hostId, role, result: report.result });
  if (report.result.stage === 'precopy') {
    const { guest, precopy } = report.result;
    // It is by the time its turn comes; where that is at once, so is the cutover's own status. The progress that says that it is held
    // may never come: a last report takes the place of one that still waits to be written.
    const held = precopy !== 'completed' && { status: 'HELD' satisfies MigrationStatus };
    if (held || guest !== undefined) await set(migrationId, { ...held, ...(guest !== undefined && { guest }) });
  }
  if (report.result.stage === 'observe-guest') {
    const { blackout } = report.result;
    if (blackout.announcedAgain) {
      await addEvent(migrationId, 'announced again', {
        host: hostId,
        why: 'it did not answer in time after the switch',
      });
    }
    await set(migrationId, { watched: blackout }, { evenEnded: true });
  }
}

/** Sets attributes, by their paths, of a record that is there and has not ended, unless it may have. */
async function set(
  migrationId: string,
  values: Record<string, unknown>,
  { evenEnded = false }: { evenEnded?: boolean } = {},
): Promise<void> {
  const paths = Object.keys(values);
  const names = new Set(paths.flatMap((path) => path.split('.')));
  const nameOf = (path: string) =>
    path
      .split('.')
      .map((name) => `#${name}`)
      .join('.');
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: `SET ${paths.map((path, index) => `${nameOf(path)} = :${index}`).join(', ')}`,
        ConditionExpression: `attribute_exists(pk)${evenEnded ? '' : ' AND attribute_not_exists(endedAt)'}`,
        ExpressionAttributeNames: Object.fromEntries([...names].map((name) => [`#${name}`, name])),
        ExpressionAttributeValues: Object.fromEntries(paths.map((path, index) => [`:${index}`, values[path]])),
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
