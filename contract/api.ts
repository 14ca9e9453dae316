import { z } from 'zod';
import { Check, Progress } from './facts.ts';
import { Forecast, Measurements, Observation } from './forecast.ts';
import { MigratedDisks } from './migrated-storage.ts';
import { HostId, ManagedNodeId, MigrationId, Role, VmName } from './names.ts';
import { Policy } from './policy.ts';

/** `qemu+tcp://` reaches libvirtd's plain TCP port; it belongs on a trusted migration network only. */
export const LibvirtUri = z
  .string()
  .regex(
    /^qemu(\+(tcp|unix))?:\/\/[^/\s]*\/system(\?[^\s]*)?$/,
    'must be a libvirt URI, such as "qemu+tcp://10.0.0.2/system"',
  );

/** Body of `PUT /hosts/{hostId}`. */
export const HostRegistration = z.strictObject({
  nodeId: ManagedNodeId,
  address: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, 'must be an IP address or a DNS name'),
  libvirtUri: LibvirtUri,
  limits: z
    .strictObject({
      /** Migrations leaving this host at the same time. */
      outgoing: z.int().min(1).max(32).default(2),
      /** Migrations arriving at the same time. */
      incoming: z.int().min(1).max(32).default(2),
      /** Cutovers from or to this host at the same time; other migrations wait, with their copies held. */
      cutovers: z.int().min(1).max(32).default(1),
    })
    .prefault({}),
});
export type HostRegistration = z.infer<typeof HostRegistration>;

export const HostState = z.enum(['ACTIVE', 'CORDONED', 'IN_MAINTENANCE']);
export type HostState = z.infer<typeof HostState>;

/** One entry of `GET /hosts`. */
export const HostView = HostRegistration.extend({
  hostId: HostId,
  state: HostState,
  /** Ids of the migrations that hold a slot. */
  outgoing: z.array(z.string()),
  incoming: z.array(z.string()),
  reservedMiB: z.number(),
});
export type HostView = z.infer<typeof HostView>;

/** Body of `POST /migrations`, and the input of the Migrate state machine. */
export const MigrationRequest = z.strictObject({
  vm: VmName,
  source: HostId,
  destination: HostId,
  /** The guest's IP address, at which both hosts measure the blackout; by default the agents find it themselves. */
  guestAddress: z.union([z.ipv4(), z.ipv6()], 'must be an IPv4 or IPv6 address').optional(),
  policy: Policy.prefault({}),
  /** Only measure and forecast; move nothing. */
  forecastOnly: z.boolean().default(false),
  /** Why, for the record. */
  reason: z.string().max(256).optional(),
});
export type MigrationRequest = z.infer<typeof MigrationRequest>;

/** QUEUED waits for a slot; RECOVERING finds out which host owns the VM; the last five are final (NEEDS_OPERATOR until resolved). */
export const MigrationStatus = z.enum([
  'REQUESTED',
  'QUEUED',
  'PREFLIGHT',
  'PRECOPY',
  'HELD',
  'CUTOVER',
  'VERIFY',
  'RECOVERING',
  'SUCCEEDED',
  'FAILED',
  'CANCELLED',
  'FORECASTED',
  'NEEDS_OPERATOR',
]);
export type MigrationStatus = z.infer<typeof MigrationStatus>;

/** Query of `DELETE /hosts/{hostId}`. `gone`: an operator states that the host, and what was left on it, will never come back. */
export const HostRemoval = z.strictObject({ gone: z.enum(['true', 'false']).optional() });

/** Body of `POST /migrations/{id}/resolve`: the owner of the VM, stated by an operator who has checked the hosts. */
export const Resolution = z.strictObject({
  owner: Role,
  /** How the operator knows, for the record. */
  reason: z.string().min(1).max(256),
});
export type Resolution = z.infer<typeof Resolution>;

export const FINAL_STATUSES: readonly MigrationStatus[] = [
  'SUCCEEDED',
  'FAILED',
  'CANCELLED',
  'FORECASTED',
  'NEEDS_OPERATOR',
];

export const TimelineEvent = z.object({
  at: z.string(),
  event: z.string(),
  detail: z.record(z.string(), z.unknown()).optional(),
});
export type TimelineEvent = z.infer<typeof TimelineEvent>;

/** Body of `GET /migrations/{id}`. */
export const MigrationView = z.object({
  migrationId: MigrationId,
  vm: VmName,
  source: HostId,
  destination: HostId,
  policy: Policy,
  status: MigrationStatus,
  requestedAt: z.string(),
  endedAt: z.string().optional(),
  /** The host that has the VM; absent while unknown. */
  runsOn: HostId.optional(),
  progress: Progress.optional(),
  checks: z.array(Check.extend({ role: Role })).optional(),
  /** Only measured and forecast; nothing is moved. */
  forecastOnly: z.boolean().optional(),
  measured: Measurements.optional(),
  forecast: Forecast.optional(),
  /** The disks for which the destination was given the task to create images. */
  migratedDisks: MigratedDisks.optional(),
  result: z
    .object({
      totalMs: z.number(),
      downtimeMs: z.number().optional(),
      commitMs: z.number().optional(),
      bytesTransferred: z.number().optional(),
      guaranteedHoldSeconds: z.number().optional(),
      precopy: z.enum(['approaching', 'held', 'completed']).optional(),
      /** The counterpart of `forecast.totalMs`: from the begin of the copy until the guest ran on the destination, holds not counted. */
      activeMs: z.number().optional(),
      postCopy: z.boolean().optional(),
      /** Measured from outside the guest, by each host. */
      blackout: z.object({ source: Observation.optional(), destination: Observation.optional() }).optional(),
      /** The images of migrated disks on the source. Handoff never deletes them; the operator may. */
      imagesLeft: z.object({ host: HostId, paths: z.array(z.string()) }).optional(),
    })
    .optional(),
  failure: z.object({ code: z.string(), message: z.string() }).optional(),
  /** What went wrong although the VM was moved. */
  warning: z.object({ code: z.string(), message: z.string() }).optional(),
  reason: z.string().optional(),
  guestAddress: z.string().optional(),
  /** The latest statement of an operator on a migration that needed one; `by` is an IAM ARN. */
  operator: Resolution.extend({ by: z.string(), at: z.string() }).optional(),
  timeline: z.array(TimelineEvent),
  executionArn: z.string(),
  consoleUrl: z.string(),
});
export type MigrationView = z.infer<typeof MigrationView>;

/** Body of `POST /hosts/{hostId}/evacuate`, and (with the host) the input of the Evacuate state machine. */
export const EvacuationOptions = z.strictObject({
  policy: Policy.prefault({}),
  reason: z.string().max(256).optional(),
});
export const EvacuationRequest = EvacuationOptions.extend({ host: HostId });
export type EvacuationRequest = z.infer<typeof EvacuationRequest>;

/** Body of `POST /audit`. */
export const AuditRequest = z.strictObject({
  /** Release what is proven to be left over; otherwise only report it. */
  repair: z.boolean().default(false),
});

/**
 * A resource that is held although its owner has ended or is unknown; or a pending cleanup: a host on which a migration may have left
 * a copy, because the host did not answer when the migration was settled.
 */
export const AuditFinding = z.object({
  resource: z.enum([
    'lock',
    'outgoing slot',
    'incoming slot',
    'cutover slot',
    'queue position',
    'memory',
    'evacuation',
    'commit record',
    'pending cleanup',
  ]),
  /** The VM or the host that the resource belongs to. */
  of: z.string(),
  /** The migration's id, or the evacuation's execution ARN. */
  owner: z.string(),
  why: z.string(),
  outcome: z.enum(['repaired', 'reported']),
});
export type AuditFinding = z.infer<typeof AuditFinding>;

const ForecastErrors = z.object({
  migrations: z.number(),
  /** |outcome - forecast| / outcome of the copy's active time; `within`: the share of outcomes within the forecast range. */
  time: z.object({ observed: z.number(), median: z.number(), p90: z.number(), within: z.number() }).optional(),
  /** |outcome - forecast| of the blackout, of the migrations whose blackout was measured from outside. */
  blackout: z.object({ observed: z.number(), medianMs: z.number(), p90Ms: z.number(), within: z.number() }).optional(),
});
/** Body of `GET /calibration`: the forecasts of the last migrations that succeeded, compared with their outcomes. */
export const Calibration = ForecastErrors.extend({ byMethod: z.record(z.string(), ForecastErrors) });
export type Calibration = z.infer<typeof Calibration>;

/** Detail of the event `Migration Ended` (source `handoff`) on the default bus; sent at least once for every end. */
export const MigrationEnded = z.object({
  migrationId: MigrationId,
  vm: VmName,
  source: HostId,
  destination: HostId,
  status: MigrationStatus,
  runsOn: HostId.optional(),
  failure: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type MigrationEnded = z.infer<typeof MigrationEnded>;

/** RFC 9457 problem details, the body of every error answer. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  code: z.string(),
  detail: z.string(),
  /** Each offending field, for `InvalidInput`. */
  errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  /** The migration that this is about, such as the one that locks the VM, for `VmBusy`. */
  migrationId: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;
