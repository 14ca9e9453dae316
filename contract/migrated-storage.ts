import { z } from 'zod';

/** A disk that only the source host has, and that is copied along with the guest. */
export const MigratedDisk = z.object({
  /** The guest's device: vda, sdb, ... */
  target: z.string().regex(/^[a-z]{2,5}[a-z0-9]*$/, 'must be a disk target, such as "vda"'),
  /** The image, at the same path on both hosts. */
  path: z.string().regex(/^\/[^\0]*[^/\0]$/, 'must be the absolute path of a file'),
  format: z.enum(['raw', 'qcow2']),
  /** What the guest sees, in bytes. */
  capacityBytes: z.int().min(1),
  /** What the image takes on the source, in bytes: holes are not sent. */
  allocatedBytes: z.int().min(0),
});
export type MigratedDisk = z.infer<typeof MigratedDisk>;
export const MigratedDisks = z.array(MigratedDisk);
