import { z } from 'zod';
import { MigratedDisks } from './migrated-storage.ts';

/**
 * What a move will cost, said before its first byte, and what that was derived from. Bytes are bytes, rates bytes per second,
 * times milliseconds unless the name says otherwise.
 */

/** Measured by the source in preflight, on the guest as it runs and on the way it will take. */
export const Measurements = z.object({
  /** Memory the guest changes, as distinct pages in one second: what a copy pass of a second would have to send again. */
  dirtyBytesPerSecond: z.number(),
  /** Distinct memory the guest changes when given longer; the most that any pass has to send again. */
  workingSetBytes: z.number(),
  /** Memory of the guest, and the part of it that is backed by the host (the rest are zero pages, nearly free to send). */
  memoryBytes: z.number(),
  residentBytes: z.number(),
  /** Of all its vCPUs together: 0 idle, 1 all busy. */
  cpuUse: z.number(),
  linkBytesPerSecond: z.number(),
  /** `measured` between the agents just now, or `known` from a migration on the same link `linkAgeSeconds` ago. */
  linkSource: z.enum(['measured', 'known']),
  linkAgeSeconds: z.number(),
  roundTripMs: z.number(),
  /** Whether the source's QEMU can be told what the last pass is carried at; it estimates it otherwise. */
  supportsAvailSwitchoverBandwidth: z.boolean().default(false),
  /** Disks that are to be copied along; absent when there are none. */
  disks: MigratedDisks.optional(),
  /** What the guest writes to those. */
  diskWriteBytesPerSecond: z.number().optional(),
});
export type Measurements = z.infer<typeof Measurements>;

/** What earlier migrations between the same two hosts say of the link. */
export const KnownLink = z.object({ bytesPerSecond: z.number(), ageSeconds: z.number() });
export type KnownLink = z.infer<typeof KnownLink>;

/** Nine in ten outcomes are meant to lie between `low` and `high`. */
export const Range = z.object({ expected: z.number(), low: z.number(), high: z.number() });
export type Range = z.infer<typeof Range>;

/** How the copy will be made. QEMU's capabilities are fixed once it has begun, so what may become necessary is in here too. */
export const Plan = z.object({
  method: z.enum(['plain', 'auto-converge', 'post-copy']),
  /** QEMU's first throttle of the guest's CPU and its step; present when throttling is allowed, needed or not. */
  throttle: z.object({ initialPercent: z.int().min(1).max(99), incrementPercent: z.int().min(1).max(99) }).optional(),
  /** What the link is sure to carry the last pass at, in MiB/s; absent where the source can't be told so, or need not be. */
  availSwitchoverBandwidthMiBps: z.int().min(1).optional(),
  /** Whether post-copy may be begun on the way. */
  postCopyAllowed: z.boolean(),
  /** TCP connections that carry the memory; 1 is QEMU's ordinary stream. */
  connections: z.int().min(1).max(16),
  /** Disks that are copied along, before the memory; absent when there are none. */
  disks: MigratedDisks.optional(),
});
export type Plan = z.infer<typeof Plan>;

export const Forecast = z.object({
  /** From the copy's begin until the guest runs on the destination; the time it is held at our wish is not counted. */
  totalMs: Range,
  blackoutMs: Range,
  bytes: Range,
  /**
   * The part of time and bytes that disks copied along take; absent when there are none. `ends`: whether they are copied faster than
   * the guest writes to them.
   */
  storage: z.object({ ms: Range, bytes: Range, ends: z.boolean() }).optional(),
  /** Whether the copy converges: by itself, only with the guest slowed, only by post-copy, or not at all. */
  convergence: z.enum(['likely', 'only-slowed', 'only-post-copy', 'not']),
  plan: Plan,
  /** Why this plan, in a sentence with the numbers. */
  why: z.string(),
});
export type Forecast = z.infer<typeof Forecast>;

/** One choice made on the way, with the numbers it was made from; it becomes an event in the timeline. */
export const Decision = z.object({
  at: z.iso.datetime(),
  event: z.string(),
  detail: z.record(z.string(), z.unknown()),
});
export type Decision = z.infer<typeof Decision>;

/** Where the guest answers, and who said so: the request, the guest's own agent, or the source host's neighbour table. */
export const GuestAddress = z.object({
  address: z.string(),
  addressFrom: z.enum(['request', 'guest-agent', 'arp']),
});
export type GuestAddress = z.infer<typeof GuestAddress>;

/** As the source tells the destination of it. `answers`: whether it had an answer from there by then, absent while too early to say. */
export const GuestReachability = GuestAddress.extend({ answers: z.boolean().optional() });
export type GuestReachability = z.infer<typeof GuestReachability>;

/**
 * The guest as seen from one host around the switch. `observed: false` says why nothing can be told; that is not the same as no
 * blackout.
 */
export const Observation = z.discriminatedUnion('observed', [
  z.object({
    observed: z.literal(true),
    ...GuestAddress.shape,
    /** Longest time between two answers around the switch, less the usual time between two. */
    blackoutMs: z.number(),
    /** The usual time between two answers: no blackout can be told more exactly than that. */
    intervalMs: z.number(),
    /** What `blackoutMs` would be anywhere else: as much of it may be the network's or the host's own doing. */
    elsewhereMs: z.number(),
    sent: z.number(),
    answered: z.number(),
    /** The guest did not answer in time after the switch, so the network was told again where it is. */
    announcedAgain: z.boolean(),
  }),
  z.object({ observed: z.literal(false), why: z.string(), announcedAgain: z.boolean().optional() }),
]);
export type Observation = z.infer<typeof Observation>;
