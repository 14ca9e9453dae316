import { z } from 'zod';
import { MigratedDisks } from './migrated-storage.ts';

/**
 * What a migration will cost, stated before its first byte, and the measurements behind it. Sizes in bytes, rates in bytes per second,
 * times in ms unless the name says otherwise.
 */

/** Measured by the source in preflight, on the running guest and on the link to the destination. */
export const Measurements = z.object({
  /** Distinct memory that the guest dirties in one second: what a copy iteration of one second would have to send again. */
  dirtyBytesPerSecond: z.number(),
  /** Distinct memory that the guest dirties when observed for longer; the most that an iteration has to send again. */
  workingSetBytes: z.number(),
  /** Memory of the guest, and the part of it that is resident on the host (the rest are zero pages, nearly free to send). */
  memoryBytes: z.number(),
  residentBytes: z.number(),
  /** Of all vCPUs together: 0 all idle, 1 all busy. */
  cpuUse: z.number(),
  linkBytesPerSecond: z.number(),
  /** `measured` between the agents in this preflight, or `known` from a migration over the same link `linkAgeSeconds` ago. */
  linkSource: z.enum(['measured', 'known']),
  linkAgeSeconds: z.number(),
  roundTripMs: z.number(),
  /** Whether the source's QEMU has the parameter `avail-switchover-bandwidth`; otherwise QEMU estimates the bandwidth itself. */
  supportsAvailSwitchoverBandwidth: z.boolean().default(false),
  /** Disks to migrate; absent when there are none. */
  disks: MigratedDisks.optional(),
  /** The rate at which the guest writes to those disks. */
  diskWriteBytesPerSecond: z.number().optional(),
});
export type Measurements = z.infer<typeof Measurements>;

/** The bandwidth that earlier migrations between the same two hosts observed. */
export const KnownLink = z.object({ bytesPerSecond: z.number(), ageSeconds: z.number() });
export type KnownLink = z.infer<typeof KnownLink>;

/** Nine in ten outcomes are meant to lie between `low` and `high`. */
export const Range = z.object({ expected: z.number(), low: z.number(), high: z.number() });
export type Range = z.infer<typeof Range>;

/** How the copy will be made. QEMU's capabilities are fixed once the copy has begun, so measures that may become necessary are included. */
export const Plan = z.object({
  method: z.enum(['plain', 'auto-converge', 'post-copy']),
  /** QEMU's first CPU throttle and its increment; present when throttling is allowed, needed or not. */
  throttle: z.object({ initialPercent: z.int().min(1).max(99), incrementPercent: z.int().min(1).max(99) }).optional(),
  /** The bandwidth that the last iteration can rely on, in MiB/s; absent where QEMU has no such parameter, or does not need it. */
  availSwitchoverBandwidthMiBps: z.int().min(1).optional(),
  /** Whether post-copy may be started during the copy. */
  postCopyAllowed: z.boolean(),
  /** TCP connections that carry the memory; 1 is QEMU's ordinary stream. */
  connections: z.int().min(1).max(16),
  /** Disks to migrate, before the memory; absent when there are none. */
  disks: MigratedDisks.optional(),
});
export type Plan = z.infer<typeof Plan>;

export const Forecast = z.object({
  /** From the begin of the copy until the guest runs on the destination; holds are not counted. */
  totalMs: Range,
  blackoutMs: Range,
  bytes: Range,
  /**
   * The share of migrated disks in time and bytes; absent when there are none. `ends`: whether they are copied faster than the guest
   * writes to them.
   */
  storage: z.object({ ms: Range, bytes: Range, ends: z.boolean() }).optional(),
  /** Whether the copy converges: without help, only with the guest throttled, only by post-copy, or not at all. */
  convergence: z.enum(['likely', 'only-slowed', 'only-post-copy', 'not']),
  plan: Plan,
  /** Why this plan, in a sentence with the numbers. */
  why: z.string(),
});
export type Forecast = z.infer<typeof Forecast>;

/** One decision made during a stage, with the numbers behind it; it becomes an event in the timeline. */
export const Decision = z.object({
  at: z.iso.datetime(),
  event: z.string(),
  detail: z.record(z.string(), z.unknown()),
});
export type Decision = z.infer<typeof Decision>;

/** The guest's address, and its source: the request, the QEMU guest agent, or the host's neighbour table. */
export const GuestAddress = z.object({
  address: z.string(),
  addressFrom: z.enum(['request', 'guest-agent', 'arp']),
});
export type GuestAddress = z.infer<typeof GuestAddress>;

/** What the source passes on to the destination. `answers`: whether the guest had answered the source by then; absent while too early to say. */
export const GuestReachability = GuestAddress.extend({ answers: z.boolean().optional() });
export type GuestReachability = z.infer<typeof GuestReachability>;

/**
 * The blackout as one host measured it. `observed: false` gives the reason why there is no measurement, which is not the same as no
 * blackout.
 */
export const Observation = z.discriminatedUnion('observed', [
  z.object({
    observed: z.literal(true),
    ...GuestAddress.shape,
    /** The longest time between two answers around the switch, minus the usual time between two answers. */
    blackoutMs: z.number(),
    /** The usual time between two answers, which limits the resolution of the measurement. */
    intervalMs: z.number(),
    /** The same figure away from the switch: up to this much of `blackoutMs` may come from the network or the host. */
    elsewhereMs: z.number(),
    sent: z.number(),
    answered: z.number(),
    /** The guest did not answer in time after the switch, so its new location was announced to the network again. */
    announcedAgain: z.boolean(),
  }),
  z.object({ observed: z.literal(false), why: z.string(), announcedAgain: z.boolean().optional() }),
]);
export type Observation = z.infer<typeof Observation>;
