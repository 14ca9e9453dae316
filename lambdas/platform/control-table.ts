import type { z } from 'zod';
import type { HostRegistration, HostState, MigrationStatus, MigrationView } from '../../contract/api.ts';
import type { Check, Progress } from '../../contract/facts.ts';
import type { Forecast, GuestReachability, Measurements, Observation } from '../../contract/forecast.ts';
import { mailboxOf } from '../../contract/mailbox.ts';
import type { Role, StageName } from '../../contract/names.ts';
import type { Policy } from '../../contract/policy.ts';
import { requireEnv } from './runtime.ts';

/**
 * The Control table: what only the control plane sees.
 *
 * | pk                 | sk              | what                                                                  |
 * |--------------------|-----------------|-----------------------------------------------------------------------|
 * | `HOSTS`            | host id         | HostItem: registration, state, slots, the line, memory reservations     |
 * | `VM#<name>`        | `LOCK`          | LockItem: the migration that may move this VM; in the `recent` index  |
 * | `MIGRATION#<id>`   | `RECORD`        | MigrationItem                                                         |
 * | `MIGRATION#<id>`   | `HOST#<host>`   | puts the migration into the `byHost` index, once for each of its hosts  |
 * | `MIGRATION#<id>`   | `EVENT#<time>#` | EventItem: the timeline                                               |
 * | `REQUESTS#<id>`    | request id      | RequestItem: a stage's task token                                     |
 * | `LINK#<host>`      | host id         | LinkItem: the bandwidth seen from the first host to the second          |
 * | `KEY#<key>`        | `KEY`           | KeyItem: an Idempotency-Key seen before                               |
 * | `CLEANUPS`            | host + VM       | FlagItem: what a migration may have left on a host that was silent    |
 *
 * Indexes (keys only, so that progress does not write to them): `byVm`, `byHost`, `byStatus`, `recent`; all sorted by
 * `requestedAt`. Sets and maps are keyed by migration id: taking or giving back twice changes nothing, and a leak names
 * its owner. An empty set does not exist in DynamoDB, so the set attributes may be missing.
 */
export const CONTROL = requireEnv('CONTROL_TABLE');
export const MAILBOX = requireEnv('MAILBOX_TABLE');
const HOST_ROLE_ID = requireEnv('HOST_ROLE_ID');

export interface HostItem extends HostRegistration {
  pk: 'HOSTS';
  sk: string;
  state: HostState;
  outgoing?: Set<string>;
  incoming?: Set<string>;
  /** Who switches now. */
  cutovers?: Set<string>;
  /** Who waits for a slot here, since when and last seen when (ms); see admission.ts. */
  line: Record<string, { since: number; seen: number }>;
  /** Memory promised to arriving VMs, MiB by migration id, guarded by `reservationVersion`. */
  reservations: Record<string, number>;
  reservationVersion: number;
  /** The Evacuate execution at work on this host. */
  evacuation?: string;
}

/** `entity` and `requestedAt` list it in the `recent` index, for the audit. */
export interface LockItem {
  pk: string;
  sk: 'LOCK';
  entity: 'LOCK';
  migrationId: string;
  /** When the lock was taken. */
  requestedAt: string;
}

/** The name of a migration, or of the Recover execution that follows up on a flag of it: `<migration id>.<number>`. */
export const migrationOfLock = ({ migrationId }: Pick<LockItem, 'migrationId'>): string =>
  migrationId.replace(/\.\d+$/, '');

/**
 * A host did not answer when a migration was settled, so that a copy of the VM may be left there, paused. One for each host and
 * VM: the newest is the one that matters. Only who holds the VM's lock writes it.
 */
export interface PendingCleanupItem {
  pk: 'CLEANUPS';
  sk: string;
  hostId: string;
  vm: string;
  migrationId: string;
  /** What the host was in the migration. */
  role: Role;
  /** Who owned the VM at the migration's end. */
  owner: Role;
  /** ISO. */
  since: string;
  /** How often it was looked at since, and when that is due again (ms since the epoch). */
  looks: number;
  lookAgainAt: number;
  /** What was seen there that only a person can put right. */
  why?: string;
}

export interface MigrationItem {
  pk: string;
  sk: 'RECORD';
  entity: 'MIGRATION';
  migrationId: string;
  vm: string;
  source: string;
  destination: string;
  guestAddress?: string;
  reason?: string;
  policy: Policy;
  /** It is to be measured and forecast, and never moved. */
  forecastOnly?: true;
  status: MigrationStatus;
  requestedAt: string;
  admittedAt?: string;
  endedAt?: string;
  cancelRequestedAt?: string;
  /** The word for a cutover that waits for one. */
  cutoverRequestedAt?: string;
  runsOn?: string;
  progress?: Progress;
  checks?: Record<string, Check[]>;
  measured?: Measurements;
  forecast?: Forecast;
  migratedDisks?: MigrationView['migratedDisks'];
  result?: MigrationView['result'];
  failure?: { code: string; message: string };
  warning?: { code: string; message: string };
  /** Where the source looked for the guest, and what the destination saw of its blackout, however late it says so. */
  guest?: GuestReachability;
  watched?: Observation;
  /** What a person said who resolved it; recovery takes it for what a host could not be asked. */
  operator?: MigrationView['operator'];
  /** The execution at work on it: Migrate's, or the last of Recover's. */
  executionArn: string;
}

export interface EventItem {
  pk: string;
  sk: string;
  at: string;
  event: string;
  detail?: Record<string, unknown>;
}

export interface RequestItem {
  pk: string;
  sk: string;
  requestId: string;
  migrationId: string;
  stage: z.infer<typeof StageName>;
  role: Role;
  hostId: string;
  nodeId: string;
  /** The only mailbox whose reports may answer this request. */
  mailbox: string;
  /** Absent when nobody waits for the answer. */
  taskToken?: string;
  open: boolean;
  issuedAt: string;
  /** How many of its host's decisions are in the timeline. */
  decisionsTold?: number;
}

/** The bandwidth from one host to another, as the last migration that could tell saw it. */
export interface LinkItem {
  pk: string;
  sk: string;
  bytesPerSecond: number;
  at: string;
}

export interface KeyItem {
  pk: string;
  sk: 'KEY';
  migrationId: string;
  fingerprint: string;
  expiresAt: number;
}

export const hostKey = (hostId: string) => ({ pk: 'HOSTS' as const, sk: hostId });
export const lockKey = (vm: string) => ({ pk: `VM#${vm}`, sk: 'LOCK' as const });
export const migrationKey = (migrationId: string) => ({ pk: `MIGRATION#${migrationId}`, sk: 'RECORD' as const });
export const migrationHostKey = (migrationId: string, hostId: string) => ({
  pk: `MIGRATION#${migrationId}`,
  sk: `HOST#${hostId}`,
});
export const requestKey = (migrationId: string, requestId: string) => ({
  pk: `REQUESTS#${migrationId}`,
  sk: requestId,
});
export const pendingCleanupKey = (hostId: string, vm: string) => ({ pk: 'CLEANUPS' as const, sk: `${hostId}#${vm}` });
export const linkKey = (source: string, destination: string) => ({ pk: `LINK#${source}`, sk: destination });
export const idempotencyKey = (key: string) => ({ pk: `KEY#${key}`, sk: 'KEY' as const });

/** The mailbox of a managed node, as IAM sees it. */
export const mailboxOfNode = (nodeId: string): string => mailboxOf(HOST_ROLE_ID, nodeId);

/** How long finished things are kept for people to look at, before DynamoDB's TTL removes them. */
export const HISTORY_SECONDS = 90 * 24 * 3600;
