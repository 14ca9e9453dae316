import { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';
import { Plan } from '../../contract/forecast.ts';
import { HostId, MigrationId, Role, StageName } from '../../contract/names.ts';
import { AbortAction, type AgentTask } from '../../contract/tasks.ts';
import { CONTRACT_VERSION } from '../../contract/version.ts';
import { knownLink } from '../fleet/links.ts';
import { addressOf, getHost, getHosts, mustAccept } from '../hosts/hosts.ts';
import { getRecord, unknownMigration } from '../migrations/migration-record.ts';
import type { HostItem, MigrationItem } from '../platform/control-table.ts';
import { isoNow, now } from '../platform/runtime.ts';

/** What a state machine asks for. */
export const TaskInput = z.object({
  migrationId: MigrationId,
  stage: StageName,
  role: Role,
  /** Counts the rounds of recovery; 1 for a stage of the plain path, which is asked for once. */
  attempt: z.int().min(1).default(1),
  /** Absent when no state machine waits for the answer: it only goes to the record. */
  taskToken: z.string().optional(),
  /** Only for the stages that need them. */
  hostId: HostId.optional(),
  action: AbortAction.optional(),
  fence: z.boolean().optional(),
  plan: Plan.optional(),
});
export type TaskInput = z.infer<typeof TaskInput>;

/** A task not begun by then must not be begun: the state machine has stopped waiting. */
const TASK_LIFETIME_MS = 60_000;

/** The cutover task reaches the mover within this time of its report: two functions, and a command that Systems Manager sends. */
const ANNOUNCE_MS = 3_000;

/** The stages that change a VM or its host, which a mere forecast never has. */
const MOVING: readonly StageName[] = ['storage', 'precopy', 'cutover', 'observe-guest'];
/**
 * What a migration may take beyond its policy's deadline until the VM is switched: five minutes that its pre-copy state waits longer,
 * and ten for the cutover slot and its task.
 */
const BEYOND_DEADLINE_SECONDS = 900;

/**
 * The task for a host, from the state machine's input and the records as they are now. `record` is undefined for an evacuation's
 * inspection of a host.
 */
export async function composeTask(
  input: TaskInput,
  requestId: string,
): Promise<{ host: HostItem; task: AgentTask; record: MigrationItem | undefined }> {
  const common = {
    version: CONTRACT_VERSION,
    requestId,
    migrationId: input.migrationId,
    role: input.role,
    issuedAt: isoNow(),
    expiresAt: new Date(now() + TASK_LIFETIME_MS).toISOString(),
  } as const;
  if (input.hostId !== undefined) {
    // An evacuation inspects a host; there is no migration yet.
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
      // The last moment to refuse: the destination may have been cordoned while the copy was held.
      mustAccept(hosts.destination);
      return { host, task: { ...to, ...both, stage: 'cutover' }, record };
    case 'observe-guest': {
      const requested = guestAddress && ({ address: guestAddress, addressFrom: 'request' } as const);
      const known = requested ?? record.guest;
      return {
        host,
        task: {
          ...to,
          ...both,
          stage: 'observe-guest',
          ...(known && { guest: known }),
          limitSeconds: policy.deadlineSeconds + BEYOND_DEADLINE_SECONDS,
        },
        record,
      };
    }
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
