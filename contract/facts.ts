import { z } from 'zod';

/** One preflight or verify check: what was looked at, what was found, and, when it failed, what would make it pass. */
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
 * A domain's state as recovery needs it; `incoming` is a copy being received by a migration, not a VM yet.
 *
 * In a post-copy each host has a half of the VM, and neither is one without the other: `postcopy-paused` is the source's, from
 * which memory is still fetched, `postcopy-running` the destination's, which runs. `postcopy-failed` is either half when the
 * stream between them broke, or when nobody attends to the source's any more.
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

/** What a host proved about one VM (`inspect`). A host that did not answer has no evidence, which is not the same as `absent`. */
export const Evidence = z.object({
  state: CopyState,
  /** libvirt's own words, for people: "paused (migrating)". */
  detail: z.string(),
  /** Whether a migration job of libvirt's is still active on the domain. */
  jobActive: z.boolean(),
  /** Whether a mover process was found, and proven dead afterwards. */
  mover: z.enum(['none', 'killed', 'not-asked']),
  /** Images that this migration made here, by their paths, and has not yet left to the VM; absent when there are none. */
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

/** Progress of the copy, of memory but for `disks`, as QEMU counts it. Bytes are bytes, times are milliseconds, rates are bytes per second. */
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
  /** How much of the guest's CPU time QEMU takes away, 0-99. */
  throttlePercent: z.number().default(0),
  /** Of disks that are copied along, holes counted: these come first, and stand as they were when the memory's turn came. */
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
