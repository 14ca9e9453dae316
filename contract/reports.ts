import { z } from 'zod';
import { Check, DomainSummary, Evidence, Progress } from './facts.ts';
import { Decision, Forecast, GuestReachability, Measurements, Observation } from './forecast.ts';
import { MigrationId, RequestId, Role, StageName } from './names.ts';
import { CONTRACT_VERSION } from './version.ts';

/** What preflight says of the guest; only the source knows it. */
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
  /** Measured by the source over TCP to the destination's migration network, in ms (median of several connects). */
  roundTripMs: z.number().optional(),
  /** Free memory measured on this host, in MiB. */
  freeMemoryMiB: z.number().optional(),
  /** From the source: what was measured, and what follows from it. Absent when the guest could not be measured. */
  measured: Measurements.optional(),
  forecast: Forecast.optional(),
});

/** `made`: the paths of the images. */
export const StorageResult = z.object({ stage: z.literal('storage'), made: z.array(z.string()) });

/**
 * `approaching`: about to be held, and not even that if the cutover order comes first.
 * `held`: braked, waiting for the cutover order, for at least `guaranteedHoldSeconds`.
 * `completed`: the guest was so idle that it converged despite the brake; the handover was committed and went through.
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
  /** As the cutover tells them; present when `precopy` is `completed`. */
  downtimeMs: z.number().optional(),
  activeMs: z.number().optional(),
  /** As the source saw it; present when `precopy` is `completed`. */
  blackout: Observation.optional(),
  /** Where the source found the guest to answer, for the destination to look there too. */
  guest: GuestReachability.optional(),
});

export const CutoverResult = z.object({
  stage: z.literal('cutover'),
  /** QEMU's own figure, in ms. */
  downtimeMs: z.number(),
  /** The part of the blackout the ownership commit took, in ms. */
  commitMs: z.number(),
  /** From the cutover order's acceptance to Finish's answer. */
  switchMs: z.number(),
  bytesTransferred: z.number(),
  /** Present when the copy was only near when it was reported, and then had to be held after all. */
  guaranteedHoldSeconds: z.number().optional(),
  /** What the copy was at work for, from Begin to Finish's answer, without the time it was held: what the forecast forecast. */
  activeMs: z.number(),
  /** The guest went over by post-copy: it ran on the destination before all of its memory was there. */
  postCopy: z.boolean(),
  /** As the source saw it. */
  blackout: Observation.optional(),
});
/** As the destination saw it. */
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

/** All decisions of this stage so far, oldest first: a report that is lost or overwritten takes none with it. */
const Decisions = z.array(Decision).default([]);

/** One item per request, overwritten as the stage goes on; a report that is not `progress` is the last. */
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
