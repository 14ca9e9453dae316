import { z } from 'zod';

/** One check of preflight or verify: its name, what was found, and, when it failed, what would make it pass. */
export const Check = z.object({
  /** Stable code, such as `memory`, `disk:vda` or `network:br0`. */
  name: z.string(),
  passed: z.boolean(),
  found: z.string(),
  /** What would make it pass; present on failed checks. */
  remedy: z.string().optional(),
});
export type Check = z.infer<typeof Check>;

/**
 * A domain's state as recovery needs it; `incoming` is a copy that a migration is still receiving, not a VM yet.
 *
 * In a post-copy each host has a half of the VM, and neither half is complete: `postcopy-paused` is the source's, from which memory
 * is still fetched; `postcopy-running` is the destination's, which runs. `postcopy-failed` is either half when the stream between
 * them broke, or the source's when its client is gone.
 */
export const CopyState = z.enum([
  'running',
  'paused',
  'migrating-paused',
  'postcopy-paused',
  'postcopy-running',
  'postcopy-failed',
  'incoming',
  'shutoff',
  'absent',
]);
export type CopyState = z.infer<typeof CopyState>;

/** What a host proved about one VM (`inspect`). A host that did not answer gave no evidence, which is not the same as `absent`. */
export const Evidence = z.object({
  state: CopyState,
  /** libvirt's own state and reason, for people: "paused (migrating)". */
  detail: z.string(),
  /** Whether a libvirt migration job is still active on the domain. */
  jobActive: z.boolean(),
  /** Whether a mover process was found, and proven dead afterwards. */
  mover: z.enum(['none', 'killed', 'not-asked']),
  /** Paths of the images that this migration created here and that do not belong to the VM yet; absent when there are none. */
  madeImages: z.array(z.string()).optional(),
});
export type Evidence = z.infer<typeof Evidence>;

export const DomainSummary = z.object({
  name: z.string(),
  uuid: z.string(),
  state: CopyState,
  memoryMiB: z.number(),
});
export type DomainSummary = z.infer<typeof DomainSummary>;

/** Progress of the copy as QEMU counts it: memory only, except `disks`. Sizes in bytes, times in ms, rates in bytes per second. */
export const Progress = z.object({
  phase: z.enum([
    'preparing',
    'copying-disks',
    'copying',
    'held',
    'switching',
    'committed',
    'finishing',
    'post-copy',
    'confirming',
  ]),
  bytesTotal: z.number(),
  bytesProcessed: z.number(),
  bytesRemaining: z.number(),
  bytesPerSecond: z.number(),
  dirtyBytesPerSecond: z.number(),
  iteration: z.number(),
  /** By how many percent QEMU throttles the guest's CPU, 0-99. */
  throttlePercent: z.number().default(0),
  /** Of migrated disks, holes counted. Disks are copied before the memory; these figures stay as they were when the memory's copy began. */
  disks: z
    .object({
      bytesTotal: z.number(),
      bytesProcessed: z.number(),
      bytesRemaining: z.number(),
    })
    .optional(),
  elapsedMs: z.number(),
});
export type Progress = z.infer<typeof Progress>;
