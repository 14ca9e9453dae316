import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { DynamoDBRecord, DynamoDBStreamEvent } from 'aws-lambda';
import type { MigrationStatus } from '../../contract/api.ts';
import type { FailureCode } from '../../contract/errors.ts';
import type { Decision, GuestReachability } from '../../contract/forecast.ts';
import { parseMailboxItem, taskKey } from '../../contract/mailbox.ts';
import { requestIdOf } from '../../contract/names.ts';
import { Report } from '../../contract/reports.ts';
import { addEvent, decisionItem, putEvent } from '../migrations/timeline.ts';
import { migrationKey, requestKey } from '../platform/control-keys.ts';
import { CONTROL, MAILBOX, type RequestItem } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { count, lambda } from '../platform/function.ts';
import { logFieldsOf, logger, withLogFields } from '../platform/log.ts';
import { dynamo } from '../platform/runtime.ts';
import { answerTask, getRequest } from './task-answer.ts';

const TASK_REFUSED: readonly string[] = ['TaskInvalid', 'TaskMisdirected', 'TaskExpired'] satisfies FailureCode[];

const processor = new BatchProcessor(EventType.DynamoDBStreams);

/**
 * Passes the hosts' reports (the Mailbox table's stream) to the state machines, and updates the records that users see.
 *
 * Only a report in the mailbox of the host that was asked counts. What a host writes there is outside input: it is checked against its
 * schema, and a malformed report is dropped and counted, since another attempt would fail too. Each record may come more than once.
 */
export const handler = lambda(async (event: DynamoDBStreamEvent, context) =>
  processPartialResponse(event, processRecord, processor, { context, throwOnFullBatchFailure: false }),
);

async function processRecord(record: DynamoDBRecord): Promise<void> {
  const image = record.dynamodb?.NewImage;
  if (record.eventName === 'REMOVE' || image === undefined) return;
  const item = unmarshall(image as Parameters<typeof unmarshall>[0]);
  const key = parseMailboxItem(String(item.sk));
  if (key?.kind !== 'report') return;
  const found = { mailbox: String(item.pk), requestId: key.id };
  await withLogFields(logFieldsOf(found), async () => {
    const parsed = Report.safeParse(item.report);
    if (!parsed.success) return reject('malformed', { mailbox: item.pk, item: item.sk, issues: parsed.error.issues });
    try {
      await processReport(parsed.data, found);
    } catch (error) {
      // The batch processor repeats the record and logs nothing.
      logger.error('A report could not be processed and is tried again', { error: error as Error });
      throw error;
    }
  });
}

/** `found`: the key of the mailbox item that the report was in. */
async function processReport(report: Report, found: { mailbox: string; requestId: string }): Promise<void> {
  const request = await getRequest(report.migrationId, report.requestId);
  if (request === undefined) return reject('unknown request', { mailbox: found.mailbox });
  if (request.mailbox !== found.mailbox || found.requestId !== report.requestId) {
    return reject('not the host that was asked', { mailbox: found.mailbox, asked: request.mailbox });
  }
  if (report.kind !== 'progress') logger.info(`Report received: ${report.kind}`, { hostId: request.hostId });
  // The agent was given a task it may not act on: a fault of ours, or a task from elsewhere. Counted also when the refusal came so late
  // that no state machine waits for it.
  if (report.kind === 'failed' && TASK_REFUSED.includes(report.failure.code)) {
    logger.warn('An agent refused a task', { hostId: request.hostId, failure: report.failure });
    count('TaskRefused', { code: report.failure.code });
  }
  await recordResult(request, report);
  if (!request.open) return;
  await updateView(request, report);
  await answerTask(request, report);
  if (report.kind === 'succeeded' && report.result.stage === 'precopy' && report.result.guest !== undefined)
    await updateObserver(report.migrationId, report.result.guest);
}

function reject(why: string, detail: Record<string, unknown>): void {
  logger.warn(`Report rejected: ${why}`, detail);
  count('ReportRejected', { why });
}

/**
 * Stores what belongs to the record even when the request is closed, because it was answered in another way or came to nothing: the
 * host's decisions, and what preflight found. A repetition changes nothing.
 */
async function recordResult(request: RequestItem, report: Report): Promise<void> {
  const { migrationId, role } = request;
  await recordDecisions(request, report.decisions);
  if (report.kind !== 'succeeded' || report.result.stage !== 'preflight') return;
  const { checks, measured, forecast, guestAddress } = report.result;
  await set(
    migrationId,
    {
      [`checks.${role}`]: checks,
      ...(measured && { measured }),
      ...(forecast && { forecast }),
      ...(role === 'source' && guestAddress && { guest: guestAddress satisfies GuestReachability }),
    },
    { evenEnded: true },
  );
}

/**
 * Writes what the source saw of the guest into the task of the destination's observer, which reads it again where it cannot tell
 * itself. Nothing waits for it.
 */
async function updateObserver(migrationId: string, guest: GuestReachability): Promise<void> {
  const observer = await getRequest(migrationId, requestIdOf(migrationId, 'observe-guest', 'destination', 1));
  if (observer === undefined) return;
  await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: MAILBOX,
        Key: taskKey(observer.mailbox, observer.requestId),
        UpdateExpression: 'SET #task.#guest = :guest',
        ConditionExpression: 'attribute_exists(#task)',
        ExpressionAttributeNames: { '#task': 'task', '#guest': 'guest' },
        ExpressionAttributeValues: { ':guest': guest },
      }),
    ),
  );
}

/**
 * Each report has all decisions of its request so far, and may come late or again: a decision's index in the list is its name, and
 * only the new ones are written.
 */
async function recordDecisions(request: RequestItem, decisions: readonly Decision[]): Promise<void> {
  const recorded = request.decisionsRecorded ?? 0;
  if (decisions.length <= recorded) return;
  const { migrationId, requestId, hostId } = request;
  for (const [index, { at, event, detail }] of decisions.entries()) {
    if (index < recorded) continue;
    await putEvent(
      decisionItem(migrationId, { name: `${requestId}.${index}`, at, event, detail: { host: hostId, ...detail } }),
    );
  }
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: requestKey(migrationId, requestId),
      UpdateExpression: 'SET decisionsRecorded = :recorded',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeValues: { ':recorded': decisions.length },
    }),
  );
}

/** Writes what users see into the record and its timeline. An evacuation's own requests have no record. */
async function updateView(request: RequestItem, report: Report): Promise<void> {
  const { migrationId, role, hostId } = request;
  if (report.kind === 'progress') {
    // The cutover's first report may still have this phase.
    const held = report.progress.phase === 'held' && request.stage === 'precopy';
    await set(migrationId, { progress: report.progress, ...(held && { status: 'HELD' satisfies MigrationStatus }) });
    return;
  }
  if (report.kind === 'failed') {
    await addEvent(migrationId, `${request.stage} failed`, { host: hostId, role, ...report.failure });
    return;
  }
  const checksFailed = 'checks' in report.result && report.result.checks.some(({ passed }) => !passed);
  const event = checksFailed ? `${request.stage} checks failed` : `${request.stage} succeeded`;
  await addEvent(migrationId, event, { host: hostId, role, result: report.result });
  if (report.result.stage === 'precopy') {
    const { guest, precopy } = report.result;
    // An approaching copy is held until it has a cutover slot. The progress report with the phase `held` may never come: a last report
    // replaces one that still waits to be written.
    const held = precopy !== 'completed' && { status: 'HELD' satisfies MigrationStatus };
    if (held || guest !== undefined) await set(migrationId, { ...held, ...(guest !== undefined && { guest }) });
  }
  if (report.result.stage === 'observe-guest') {
    const { blackout } = report.result;
    if (blackout.announcedAgain) {
      await addEvent(migrationId, 'guest announced again', {
        host: hostId,
        why: 'it did not answer in time after the cutover',
      });
    }
    await set(migrationId, { destinationBlackout: blackout }, { evenEnded: true });
  }
}

/** Sets attributes, by their paths, of a record that exists and, without `evenEnded`, has not ended. */
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
  await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: `SET ${paths.map((path, index) => `${nameOf(path)} = :${index}`).join(', ')}`,
        ConditionExpression: `attribute_exists(pk)${evenEnded ? '' : ' AND attribute_not_exists(endedAt)'}`,
        ExpressionAttributeNames: Object.fromEntries([...names].map((name) => [`#${name}`, name])),
        ExpressionAttributeValues: Object.fromEntries(paths.map((path, index) => [`:${index}`, values[path]])),
      }),
    ),
  );
}
