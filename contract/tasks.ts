import { z } from 'zod';
import { GuestReachability, KnownLink, Plan } from './forecast.ts';
import { MigratedDisks } from './migrated-storage.ts';
import { HostId, MigrationId, RequestId, Role, type StageName, VmName } from './names.ts';
import { Policy } from './policy.ts';
import { CONTRACT_VERSION } from './version.ts';

/** How an agent reaches a host's libvirt and its migration port. */
export const HostAddress = z.object({
  hostId: HostId,
  /** IP address or DNS name on the migration network. */
  address: z.string(),
  /** libvirt URI by which the *other* host's agent reaches this one, such as `qemu+tcp://10.0.0.2/system`. */
  libvirtUri: z.string(),
});
export type HostAddress = z.infer<typeof HostAddress>;

const common = {
  version: z.literal(CONTRACT_VERSION),
  requestId: RequestId,
  migrationId: MigrationId,
  role: Role,
  /** The host this task is for; an agent elsewhere rejects it. */
  hostId: HostId,
  issuedAt: z.iso.datetime(),
  /** The task must not be started after this moment: the control plane has stopped waiting for it. */
  expiresAt: z.iso.datetime(),
};

const bothHosts = { vm: VmName, source: HostAddress, destination: HostAddress };

export const PreflightTask = z.object({
  ...common,
  ...bothHosts,
  stage: z.literal('preflight'),
  policy: Policy,
  /** Memory on this host that is reserved for other migrations and does not count as free, in MiB. */
  reservedMiB: z.int().min(0),
  /** The bandwidth that earlier migrations observed, if any. */
  link: KnownLink.optional(),
});
/** To the destination, before pre-copy: create an image for each migrated disk. */
export const StorageTask = z.object({
  ...common,
  ...bothHosts,
  stage: z.literal('storage'),
  disks: MigratedDisks.min(1),
});
/** For the destination, when it was given the task to create images. */
const disks = MigratedDisks.optional();
/** The guest's address, when the request named one; otherwise the agents find it themselves. */
const guestAddress = z.string().optional();
export const PrecopyTask = z.object({
  ...common,
  ...bothHosts,
  stage: z.literal('precopy'),
  /**
   * How many ms before the hold the mover reports that the hold is near, so that the cutover task arrives by then and the copy need not
   * be held at all. 0: the mover reports the hold itself, once the copy is held.
   */
  announceMs: z.int().min(0).default(0),
  policy: Policy,
  plan: Plan,
  guestAddress,
});
export const CutoverTask = z.object({ ...common, ...bothHosts, stage: z.literal('cutover') });
/** To the destination, together with the pre-copy task to the source: measure from there when the guest answers again. */
export const ObserveGuestTask = z.object({
  ...common,
  ...bothHosts,
  stage: z.literal('observe-guest'),
  /**
   * From the request or from the source; otherwise the destination finds the address itself. The control plane updates it when the
   * source reports whether the guest answers.
   */
  guest: GuestReachability.optional(),
  /** By then the VM is switched, or will not be. */
  limitSeconds: z.int().min(1),
});
export const VerifyTask = z.object({
  ...common,
  ...bothHosts,
  stage: z.literal('verify'),
  guestAddress,
  disks,
});
/** What recovery has done on a host once the owner is decided. */
export const AbortAction = z.enum([
  'resume',
  'remove-paused-copy',
  'destroy-incoming',
  'resume-postcopy',
  'keep-images',
  'remove-images',
]);
export type AbortAction = z.infer<typeof AbortAction>;
export const AbortTask = z.object({ ...common, ...bothHosts, stage: z.literal('abort'), action: AbortAction, disks });
export const InspectTask = z.object({
  ...common,
  stage: z.literal('inspect'),
  /** The VM to give evidence about; absent: list all domains. */
  vm: VmName.optional(),
  /** First kill this migration's mover, and wait until the mover and its libvirt job are gone. */
  fence: z.boolean(),
  disks,
});

export const AgentTask = z.discriminatedUnion('stage', [
  PreflightTask,
  StorageTask,
  PrecopyTask,
  CutoverTask,
  ObserveGuestTask,
  VerifyTask,
  AbortTask,
  InspectTask,
]);
export type AgentTask = z.infer<typeof AgentTask>;
export type TaskOf<S extends z.infer<typeof StageName>> = Extract<AgentTask, { stage: S }>;
