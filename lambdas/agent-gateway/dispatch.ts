import { SendCommandCommand } from '@aws-sdk/client-ssm';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { MigrationStatus } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { reportKey, taskKey } from '../../contract/mailbox.ts';
import { requestIdOf, type StageName } from '../../contract/names.ts';
import { Report } from '../../contract/reports.ts';
import type { AgentTask } from '../../contract/tasks.ts';
import { releaseCutover } from '../migrations/release.ts';
import { eventItem } from '../migrations/timeline.ts';
import { migrationKey, pendingCleanupKey, requestKey } from '../platform/control-keys.ts';
import {
  CONTROL,
  type EventItem,
  historyEnd,
  MAILBOX,
  type MigrationItem,
  mailboxOfNode,
  type RequestItem,
} from '../platform/control-table.ts';
import { getItem, transact, unlessConditionFails } from '../platform/dynamo.ts';
import { lambda } from '../platform/function.ts';
import { logger, withLogFields } from '../platform/log.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, isoNow, requireEnv, ssm } from '../platform/runtime.ts';
import { composeTask, TaskInput } from './compose-task.ts';
import { answerTask } from './task-answer.ts';

/** The shortest time SSM takes. A host that does not fetch its command within this time counts as unreachable. */
const DELIVERY_SECONDS = 30;
/** The guest is observed beside other stages, and the record shows those. */
const STATUS_OF: Record<Exclude<StageName, 'observe-guest'>, MigrationStatus> = {
  preflight: 'PREFLIGHT',
  storage: 'PRECOPY',
  precopy: 'PRECOPY',
  cutover: 'CUTOVER',
  verify: 'VERIFY',
  abort: 'RECOVERING',
  inspect: 'RECOVERING',
};
/** The stages before the handover: a cancelled migration begins none of them. */
const STOPPED_BY_CANCEL: readonly StageName[] = ['preflight', 'storage', 'precopy', 'cutover'];
const AFTER_CUTOVER: readonly StageName[] = ['verify', 'inspect'];

/**
 * Asks one host to run one stage, and returns at once: the answer comes through `relay` to the task token.
 *
 * The request id is the same for the same stage of the same migration, however often this runs: a repetition finds its own
 * request, writes the newer token into it (the older one is no longer waited for), and sends the command again, which the agent's
 * claim makes harmless. If the host has answered in between, the task is answered at once.
 */
export const handler = lambda(async (event: unknown) => {
  const input = parse(TaskInput, event, 'stage');
  const requestId = requestIdOf(input.migrationId, input.stage, input.role, input.attempt);
  return withLogFields({ requestId }, () => send(input, requestId));
});

async function send(
  input: TaskInput,
  requestId: string,
): Promise<{ requestId: string; host: string; alreadyAnswered?: true }> {
  const { host, task, record } = await composeTask(input, requestId);
  const mailbox = mailboxOfNode(host.nodeId);
  const request: RequestItem = {
    ...requestKey(input.migrationId, requestId),
    requestId,
    migrationId: input.migrationId,
    stage: input.stage,
    role: input.role,
    hostId: host.sk,
    nodeId: host.nodeId,
    mailbox,
    ...(input.taskToken !== undefined && { taskToken: input.taskToken }),
    open: true,
    issuedAt: isoNow(),
  };
  const status = input.stage === 'observe-guest' ? undefined : STATUS_OF[input.stage];
  const stoppedByCancel = STOPPED_BY_CANCEL.includes(input.stage);
  const putBefore = !(await putTask(task, request, {
    status: record !== undefined && stoppedByCancel ? status : undefined,
    endsCleanupsOf: input.stage === 'precopy' ? record : undefined,
    disks: task.stage === 'storage' ? task.disks : undefined,
    event:
      record &&
      eventItem(record.migrationId, `${input.stage} task sent`, {
        host: host.sk,
        role: input.role,
        ...(input.action !== undefined && { action: input.action }),
      }),
  }));

  // The cutover is over, one way or the other: the next VM may acquire the slot while this one is verified or inspected.
  if (record !== undefined && input.role === 'source' && AFTER_CUTOVER.includes(input.stage)) {
    await Promise.all([record.source, record.destination].map((hostId) => releaseCutover(hostId, record.migrationId)));
  }

  const answered = putBefore ? await finalReport(mailbox, requestId) : undefined;
  if (answered !== undefined) {
    await answerTask(request, answered);
    return { requestId, host: host.sk, alreadyAnswered: true };
  }
  if (record !== undefined && status !== undefined && !stoppedByCancel) await updateStatus(record, status);
  const { Command } = await ssm.send(
    new SendCommandCommand({
      DocumentName: requireEnv('AGENT_DOCUMENT'),
      InstanceIds: [host.nodeId],
      Parameters: { requestId: [requestId] },
      Comment: `${input.stage} (${input.role}) of ${input.migrationId}`.slice(0, 100),
      TimeoutSeconds: DELIVERY_SECONDS,
    }),
  );
  logger.info('Task sent', { hostId: host.sk, commandId: Command?.CommandId });
  return { requestId, host: host.sk };
}

interface WithTask {
  /** The record's new status, so that a cancel either finds this request or stops it. */
  status: MigrationStatus | undefined;
  /** Preflight has just found the VM on its source and no copy on its destination: earlier migrations' cleanups have nothing to do. */
  endsCleanupsOf: MigrationItem | undefined;
  /** The record lists every image that may be made, so that recovery asks for them all. */
  disks: MigrationItem['migratedDisks'];
  event: EventItem | undefined;
}

/**
 * Puts the task into the host's mailbox, in one transaction with the request that its report answers, and the changes of the record
 * and its timeline. False when the task was there before: the agent may have claimed it, so it stays as it is, and only the request is
 * put again.
 */
async function putTask(
  task: AgentTask,
  request: RequestItem,
  { status, endsCleanupsOf, disks, event }: WithTask,
): Promise<boolean> {
  const put = <Name extends string>(name: Name, Item: object) => ({
    name,
    write: { Put: { TableName: CONTROL, Item } },
  });
  const begin = {
    name: 'begun' as const,
    write: {
      Update: {
        TableName: CONTROL,
        Key: migrationKey(request.migrationId),
        UpdateExpression: `SET #status = :status${disks === undefined ? '' : ', migratedDisks = :disks'}`,
        ConditionExpression:
          'attribute_exists(pk) AND attribute_not_exists(cancelRequestedAt) AND attribute_not_exists(endedAt)',
        ExpressionAttributeNames: { '#status': 'status' },
        ExpressionAttributeValues: { ':status': status, ...(disks && { ':disks': disks }) },
      },
    },
  };
  const cleanups = endsCleanupsOf
    ? [endsCleanupsOf.source, endsCleanupsOf.destination].map((hostId) => pendingCleanupKey(hostId, endsCleanupsOf.vm))
    : [];
  const first = {
    name: 'task' as const,
    write: {
      Put: {
        TableName: MAILBOX,
        Item: { ...taskKey(request.mailbox, task.requestId), task, expiresAt: historyEnd() },
        ConditionExpression: 'attribute_not_exists(pk)',
      },
    },
  };
  const always = [
    put('request', { ...request, expiresAt: historyEnd() }),
    ...(status === undefined ? [] : [begin]),
    ...cleanups.map((Key) => ({ name: 'pending cleanup' as const, write: { Delete: { TableName: CONTROL, Key } } })),
  ];
  const refused = await transact([...always, first, ...(event === undefined ? [] : [put('event', event)])]);
  if (refused.length === 0) return true;
  // Only a repetition that comes much too late finds it ended.
  const tooLate = refused.includes('begun') || (await transact(always)).length > 0;
  if (tooLate) throw new HandoffError('Cancelled', 'Cancelled on request, or ended already.');
  return false;
}

async function finalReport(mailbox: string, requestId: string): Promise<Report | undefined> {
  const item = await getItem<{ report?: unknown }>(MAILBOX, reportKey(mailbox, requestId));
  // What a host writes is outside input: a malformed report is no answer.
  const report = Report.safeParse(item?.report).data;
  return report?.kind === 'progress' ? undefined : report;
}

/** Sets the record's status, unless the migration has ended meanwhile. */
async function updateStatus({ migrationId }: MigrationItem, status: MigrationStatus): Promise<void> {
  await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: 'SET #status = :status',
        ConditionExpression: 'attribute_not_exists(endedAt)',
        ExpressionAttributeNames: { '#status': 'status' },
        ExpressionAttributeValues: { ':status': status },
      }),
    ),
  );
}
