import type { z } from 'zod';
import type { HostRegistration, HostState, MigrationStatus, MigrationView } from '../../contract/api.ts';
import type { Check, Progress } from '../../contract/facts.ts';
import type { Forecast, GuestReachability, Measurements, Observation } from '../../contract/forecast.ts';
import { mailboxOf } from '../../contract/mailbox.ts';
import type { Role, StageName } from '../../contract/names.ts';
import type { Policy } from '../../contract/policy.ts';
import { now, requireEnv } from './runtime.ts';

/**
 * The items of the Control table, which only the control plane sees; control-keys.ts has their keys.
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
  /** The migrations that hold a cutover slot. */
  cutovers?: Set<string>;
  /** The migrations that wait for a slot here, since when, and when they were last seen (ms); see admission.ts. */
  queue: Record<string, { since: number; seen: number }>;
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
  /** The holder: a migration's id, or for a cleanup the name of its Recover execution (execution-names.ts). */
  migrationId: string;
  /** When the lock was taken. */
  requestedAt: string;
}

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
  /** How many cleanups have not ended it, and when the next is due (ms since the epoch). */
  attempts: number;
  nextAttemptAt: number;
  /** What was found there that only a person can put right. */
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
  /** Only measured and forecast, never moved. */
  forecastOnly?: true;
  status: MigrationStatus;
  requestedAt: string;
  admittedAt?: string;
  endedAt?: string;
  cancelRequestedAt?: string;
  /** When a manual cutover was requested. */
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
  /** Where the source observed the guest, and the blackout that the destination observed, whenever its report arrives. */
  guest?: GuestReachability;
  destinationBlackout?: Observation;
  /** The statement of the operator who resolved it; recovery uses it in the place of what a host did not answer. */
  operator?: MigrationView['operator'];
  /** The execution responsible for it: Migrate's, or the last of Recover's. */
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
  /** Absent when no state machine waits for the answer. */
  taskToken?: string;
  open: boolean;
  issuedAt: string;
  /** How many of its host's decisions are in the timeline. */
  decisionsRecorded?: number;
}

/** The bandwidth from one host to another, as the last migration that measured it. */
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

/** The mailbox of a managed node, as IAM sees it. */
export const mailboxOfNode = (nodeId: string): string => mailboxOf(HOST_ROLE_ID, nodeId);

/** How long finished things are kept for people to read, before DynamoDB's TTL removes them. */
const HISTORY_SECONDS = 90 * 24 * 3600;
/** The `expiresAt` (seconds since the epoch) of what finishes now. */
export const historyEnd = (): number => Math.floor(now() / 1000) + HISTORY_SECONDS;
