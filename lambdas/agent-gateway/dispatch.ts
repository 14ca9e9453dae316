import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { SendCommandCommand } from '@aws-sdk/client-ssm';
import { GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import type { MigrationStatus } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { Plan } from '../../contract/forecast.ts';
import { reportKey, taskKey } from '../../contract/mailbox.ts';
import { HostId, MigrationId, Role, requestIdOf, StageName } from '../../contract/names.ts';
import { Report } from '../../contract/reports.ts';
import { AbortAction, type AgentTask } from '../../contract/tasks.ts';
import { CONTRACT_VERSION } from '../../contract/version.ts';
import { knownLink } from '../fleet/links.ts';
import { addressOf, getHost, getHosts, mustAccept } from '../hosts/hosts.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import { releaseCutover } from '../migrations/release.ts';
import { eventItem } from '../migrations/timeline.ts';
import {
  CONTROL,
  type EventItem,
  HISTORY_SECONDS,
  type HostItem,
  MAILBOX,
  type MigrationItem,
  mailboxOfNode,
  migrationKey,
  pendingCleanupKey,
  type RequestItem,
  requestKey,
} from '../platform/control-table.ts';
import { lambda, logger } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo, isoNow, now, requireEnv, ssm } from '../platform/runtime.ts';
import { transact } from '../platform/transaction.ts';
import { answer } from './task-answer.ts';

const Input = z.object({
  migrationId: MigrationId,
  stage: StageName,
  role: Role,
  /** Tells the rounds of recovery apart; a stage of the plain path is asked for once. */
  attempt: z.int().min(1).default(1),
  /** Absent when nobody waits for the answer: it only goes to the record. */
  taskToken: z.string().optional(),
  /** Only for the stages that need them. */
  hostId: HostId.optional(),
  action: AbortAction.optional(),
  fence: z.boolean().optional(),
  plan: Plan.optional(),
});
type Input = z.infer<typeof Input>;

/** SSM refuses to wait for less. A host that does not fetch its command within this time counts as unreachable. */
const DELIVERY_SECONDS = 30;
/** An order not begun by then must not be begun: the state machine has stopped waiting. */
const ORDER_LIFETIME_MS = 60_000;

/** The order to cut over reaches the mover within this time of its report: two functions, and a command that Systems Manager sends. */
const ANNOUNCE_MS = 3_000;

const STATUS_OF: Record<Input['stage'], MigrationStatus> = {
  preflight: 'PREFLIGHT',
  storage: 'PRECOPY',
  precopy: 'PRECOPY',
  cutover: 'CUTOVER',
  'observe-guest': 'CUTOVER',
  verify: 'VERIFY',
  abort: 'RECOVERING',
  inspect: 'RECOVERING',
};
/** The stages before the handover: a cancelled migration begins none of them. */
const STOPPED_BY_CANCEL: readonly Input['stage'][] = ['preflight', 'storage', 'precopy', 'cutover', 'observe-guest'];
/** What moves a VM. */
const MOVING: readonly Input['stage'][] = ['storage', 'precopy', 'cutover', 'observe-guest'];
const AFTER_THE_SWITCH: readonly Input['stage'][] = ['verify', 'inspect'];

/**
 * Asks one host to run one stage, and returns at once: the answer comes through `relay` to the task token.
 *
 * The request id is the same for the same stage of the same migration, however often this runs: a repetition finds its own
 * request, puts the newer token into it (the older one is dead), and sends the command again, which the agent's claim
 * makes harmless. If the host has answered in between, the answer is given right away.
 */
export const handler = lambda(async (event: unknown) => {
  const input = parse(Input, event, 'stage');
  const requestId = requestIdOf(input.migrationId, input.stage, input.role, input.attempt);
  const { host, task, record } = await prepare(input, requestId);
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
  const stoppedByCancel = STOPPED_BY_CANCEL.includes(input.stage);
  const givenBefore = !(await give(task, request, {
    status: record !== undefined && stoppedByCancel ? STATUS_OF[input.stage] : undefined,
    unflag: input.stage === 'precopy' ? record : undefined,
    disks: task.stage === 'storage' ? task.disks : undefined,
    event:
      record &&
      eventItem(record.migrationId, `${input.stage} ordered`, {
        host: host.sk,
        role: input.role,
        ...(input.action !== undefined && { action: input.action }),
      }),
  }));

  // The switch is over, one way or the other: the next VM may have its turn while this one is looked at.
  if (record !== undefined && input.role === 'source' && AFTER_THE_SWITCH.includes(input.stage)) {
    await Promise.all([record.source, record.destination].map((hostId) => releaseCutover(hostId, record.migrationId)));
  }

  const answered = givenBefore ? await finalReport(mailbox, requestId) : undefined;
  if (answered !== undefined) {
    await answer(request, answered);
    return { requestId, host: host.sk, alreadyAnswered: true };
  }
  if (record !== undefined && !stoppedByCancel) await tell(record, STATUS_OF[input.stage]);
  const { Command } = await ssm.send(
    new SendCommandCommand({
      DocumentName: requireEnv('AGENT_DOCUMENT'),
      InstanceIds: [host.nodeId],
      Parameters: { requestId: [requestId] },
      Comment: `${input.stage} (${input.role}) of ${input.migrationId}`.slice(0, 100),
      TimeoutSeconds: DELIVERY_SECONDS,
    }),
  );
  logger.info('Order sent.', { requestId, commandId: Command?.CommandId });
  return { requestId, host: host.sk };
});

async function prepare(
  input: Input,
  requestId: string,
): Promise<{ host: HostItem; task: AgentTask; record: MigrationItem | undefined }> {
  const common = {
    version: CONTRACT_VERSION,
    requestId,
    migrationId: input.migrationId,
    role: input.role,
    issuedAt: isoNow(),
    expiresAt: new Date(now() + ORDER_LIFETIME_MS).toISOString(),
  } as const;
  if (input.hostId !== undefined) {
    // An evacuation looks at a host; there is no VM yet.
    if (input.stage !== 'inspect')
      throw new HandoffError('InvalidInput', `hostId goes with inspect, not with ${input.stage}`);
    const host = await getHost(input.hostId);
    return { host, task: { ...common, hostId: host.sk, stage: 'inspect', fence: false }, record: undefined };
  }
  const record = await mustHaveRecord(input.migrationId);
  if (record.forecastOnly && MOVING.includes(input.stage)) {
    throw new HandoffError('InvalidInput', `${input.migrationId} is only to be forecast; nothing of it may be moved`);
  }
  const hosts = await getHosts(record.source, record.destination);
  const host = hosts[input.role];
  const both = { vm: record.vm, source: addressOf(hosts.source), destination: addressOf(hosts.destination) };
  const to = { ...common, hostId: host.sk };
  const { policy, guestAddress } = record;
  const guest = guestAddress !== undefined && { guestAddress };
  const disks = input.role === 'destination' && record.migratedDisks && { disks: record.migratedDisks };
  switch (input.stage) {
    case 'preflight': {
      const reservedMiB = Object.entries(host.reservations)
        .filter(([id]) => id !== input.migrationId)
        .reduce((sum, [, mib]) => sum + mib, 0);
      const link = input.role === 'source' ? await knownLink(record.source, record.destination) : undefined;
      return {
        host,
        task: { ...to, ...both, stage: 'preflight', policy, reservedMiB, ...(link && { link }) },
        record,
      };
    }
    case 'storage':
      if (input.plan?.disks === undefined)
        throw new HandoffError('InvalidInput', 'storage needs a plan with disks to be copied');
      return { host, task: { ...to, ...both, stage: 'storage', disks: input.plan.disks }, record };
    case 'precopy':
      if (input.plan === undefined)
        throw new HandoffError('InvalidInput', 'precopy needs the plan that preflight made');
      return {
        host,
        task: {
          ...to,
          ...both,
          stage: 'precopy',
          policy,
          plan: input.plan,
          announceMs: policy.cutover === 'automatic' ? ANNOUNCE_MS : 0,
          ...guest,
        },
        record,
      };
    case 'cutover':
      // The last moment to say no: the destination may have been cordoned while the copy was held.
      mustAccept(hosts.destination);
      return { host, task: { ...to, ...both, stage: 'cutover' }, record };
    case 'observe-guest':
      return {
        host,
        task: { ...to, ...both, stage: 'observe-guest', ...(record.guest && { guest: record.guest }) },
        record,
      };
    case 'verify':
      return { host, task: { ...to, ...both, stage: 'verify', ...guest, ...disks }, record };
    case 'abort':
      if (input.action === undefined) throw new HandoffError('InvalidInput', 'abort needs an action');
      return { host, task: { ...to, ...both, stage: 'abort', action: input.action, ...disks }, record };
    case 'inspect':
      return { host, task: { ...to, stage: 'inspect', vm: record.vm, fence: input.fence ?? false, ...disks }, record };
  }
}

async function mustHaveRecord(migrationId: string): Promise<MigrationItem> {
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId, 'it has not been admitted');
  return record;
}

interface Given {
  /** What the record says from now on, so that a cancel either sees this request or stops it. */
  status: MigrationStatus | undefined;
  /** Preflight has just found this VM on its source and nothing of it on its destination: nothing an earlier migration left is there. */
  unflag: MigrationItem | undefined;
  /** The record knows of every image that may ever be made, so that recovery asks for them all. */
  disks: MigrationItem['migratedDisks'];
  event: EventItem | undefined;
}

/**
 * Puts the task into the host's mailbox, in one step with all that goes with it: the request by which its answer is known, and what
 * the record and its timeline say of it. False when it was given before: then it stays as it is, since the agent may have claimed it
 * already, and only the request is put anew.
 */
async function give(task: AgentTask, request: RequestItem, { status, unflag, disks, event }: Given): Promise<boolean> {
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
  const unflags = (unflag === undefined ? [] : [unflag.source, unflag.destination]).map((hostId) => ({
    name: 'pendingCleanup' as const,
    write: { Delete: { TableName: CONTROL, Key: pendingCleanupKey(hostId, unflag!.vm) } },
  }));
  const ordered = {
    name: 'task' as const,
    write: {
      Put: {
        TableName: MAILBOX,
        Item: { ...taskKey(request.mailbox, task.requestId), task, expiresAt: expiry() },
        ConditionExpression: 'attribute_not_exists(pk)',
      },
    },
  };
  const always = [
    put('request', { ...request, expiresAt: expiry() }),
    ...(status === undefined ? [] : [begin]),
    ...unflags,
  ];
  const refused = await transact([...always, ordered, ...(event === undefined ? [] : [put('event', event)])]);
  if (refused.length === 0) return true;
  // Only a repetition that comes much too late finds it ended.
  const tooLate = refused.includes('begun') || (await transact(always)).length > 0;
  if (tooLate) throw new HandoffError('Cancelled', 'Cancelled on request, or ended already.');
  return false;
}

async function finalReport(mailbox: string, requestId: string): Promise<Report | undefined> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: MAILBOX, Key: reportKey(mailbox, requestId), ConsistentRead: true }),
  );
  // What a host writes is outside input: what is no report is no answer.
  const report = Report.safeParse(Item?.report).data;
  return report?.kind === 'progress' ? undefined : report;
}

/** Shows people the stage, unless the migration has ended meanwhile. */
async function tell({ migrationId }: MigrationItem, status: MigrationStatus): Promise<void> {
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        UpdateExpression: 'SET #status = :status',
        ConditionExpression: 'attribute_not_exists(endedAt)',
        ExpressionAttributeNames: { '#status': 'status' },
        ExpressionAttributeValues: { ':status': status },
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}

const expiry = (): number => Math.floor(now() / 1000) + HISTORY_SECONDS;
