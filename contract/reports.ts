import { z } from 'zod';
import { Check, DomainSummary, Evidence, Progress } from './facts.ts';
import { Decision, Forecast, GuestAddress, GuestReachability, Measurements, Observation } from './forecast.ts';
import { MigrationId, RequestId, Role, StageName } from './names.ts';
import { CONTRACT_VERSION } from './version.ts';

/** The guest as preflight found it; only the source reports it. */
export const GuestFacts = z.object({
  uuid: z.string(),
  memoryMiB: z.number(),
  vcpus: z.number(),
  persistent: z.boolean(),
  disks: z.array(z.string()),
  networks: z.array(z.string()),
});
export type GuestFacts = z.infer<typeof GuestFacts>;

export const PreflightResult = z.object({
  stage: z.literal('preflight'),
  checks: z.array(Check),
  guest: GuestFacts.optional(),
  /** From the source, where it or the guest's agent knows one. */
  guestAddress: GuestAddress.optional(),
  /** Measured by the source over TCP to the destination's migration network, in ms (median of several connects). */
  roundTripMs: z.number().optional(),
  /** Free memory measured on this host, in MiB. */
  freeMemoryMiB: z.number().optional(),
  /** From the source: the measurements and the forecast. Absent when the guest could not be measured. */
  measured: Measurements.optional(),
  forecast: Forecast.optional(),
});

/** `made`: the paths of the images that were created. */
export const StorageResult = z.object({ stage: z.literal('storage'), made: z.array(z.string()) });

/**
 * `approaching`: about to be held; the hold does not happen if the cutover task comes first.
 * `held`: braked, waiting for the cutover task, for at least `guaranteedHoldSeconds`.
 * `completed`: the guest was so idle that it converged despite the brake; the handover was committed and has succeeded.
 */
export const PrecopyResult = z.object({
  stage: z.literal('precopy'),
  precopy: z.enum(['approaching', 'held', 'completed']),
  /** Present when `precopy` is `held`. */
  guaranteedHoldSeconds: z.number().optional(),
  bytesRemaining: z.number(),
  bytesTransferred: z.number(),
  /** From Begin to the hold, or to this report. */
  copyMs: z.number(),
  /** As in CutoverResult; present when `precopy` is `completed`. */
  downtimeMs: z.number().optional(),
  activeMs: z.number().optional(),
  /** As the source measured it; present when `precopy` is `completed`. */
  blackout: Observation.optional(),
  /** The guest's address as the source found it, for the destination's observation. */
  guest: GuestReachability.optional(),
});

export const CutoverResult = z.object({
  stage: z.literal('cutover'),
  /** QEMU's own figure, in ms. */
  downtimeMs: z.number(),
  /** The part of the blackout the ownership commit took, in ms. */
  commitMs: z.number(),
  /** From the moment the mover accepted the cutover to Finish's answer. */
  switchMs: z.number(),
  bytesTransferred: z.number(),
  /** Present when the copy was reported as `approaching` and then had to be held after all. */
  guaranteedHoldSeconds: z.number().optional(),
  /** From Begin to Finish's answer, holds not counted: the counterpart of the forecast's `totalMs`. */
  activeMs: z.number(),
  /** The guest switched by post-copy: it ran on the destination before all of its memory was there. */
  postCopy: z.boolean(),
  /** As the source measured it. */
  blackout: Observation.optional(),
});
/** The blackout as the destination measured it. */
export const ObserveGuestResult = z.object({ stage: z.literal('observe-guest'), blackout: Observation });

export const VerifyResult = z.object({ stage: z.literal('verify'), checks: z.array(Check) });
export const AbortResult = z.object({ stage: z.literal('abort'), done: z.string(), evidence: Evidence });
export const InspectResult = z.object({
  stage: z.literal('inspect'),
  evidence: Evidence.optional(),
  domains: z.array(DomainSummary).optional(),
});

export const StageResult = z.discriminatedUnion('stage', [
  PreflightResult,
  StorageResult,
  PrecopyResult,
  CutoverResult,
  ObserveGuestResult,
  VerifyResult,
  AbortResult,
  InspectResult,
]);
export type StageResult = z.infer<typeof StageResult>;
export type ResultOf<S extends z.infer<typeof StageName>> = Extract<StageResult, { stage: S }>;

/** Why a stage failed. `code` is one of contract/errors.ts. */
export const Failure = z.object({
  code: z.string(),
  message: z.string(),
  detail: z.record(z.string(), z.unknown()).optional(),
});
export type Failure = z.infer<typeof Failure>;

const common = {
  version: z.literal(CONTRACT_VERSION),
  requestId: RequestId,
  migrationId: MigrationId,
  stage: StageName,
  role: Role,
  /** Grows with every report of one request; a late, older one is ignored. */
  sequence: z.int().min(0),
  at: z.iso.datetime(),
};

/** All decisions of this stage so far, oldest first, so that a lost or overwritten report loses none. */
const Decisions = z.array(Decision).default([]);

/** One item per request, overwritten while the stage runs; a report other than `progress` is the last. */
export const Report = z.discriminatedUnion('kind', [
  z.object({
    ...common,
    kind: z.literal('progress'),
    progress: Progress,
    decisions: Decisions,
    note: z.string().optional(),
  }),
  z.object({ ...common, kind: z.literal('succeeded'), result: StageResult, decisions: Decisions }),
  z.object({ ...common, kind: z.literal('failed'), failure: Failure, decisions: Decisions }),
]);
export type Report = z.infer<typeof Report>;
