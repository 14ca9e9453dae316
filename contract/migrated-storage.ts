import { z } from 'zod';

/** A disk that only the source host has, and that is copied to the destination with the guest. */
export const MigratedDisk = z.object({
  /** The guest's device: vda, sdb, ... */
  target: z.string().regex(/^[a-z]{2,5}[a-z0-9]*$/, 'must be a disk target, such as "vda"'),
  /** The image, at the same path on both hosts. */
  path: z.string().regex(/^\/[^\0]*[^/\0]$/, 'must be the absolute path of a file'),
  format: z.enum(['raw', 'qcow2']),
  /** The size that the guest sees, in bytes. */
  capacityBytes: z.int().min(1),
  /** The space that the image occupies on the source, in bytes. */
  allocatedBytes: z.int().min(0),
});
export type MigratedDisk = z.infer<typeof MigratedDisk>;
export const MigratedDisks = z.array(MigratedDisk);
