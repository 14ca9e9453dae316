import type { MigratedDisk } from '../../contract/migrated-storage.ts';

/**
 * The space that an image takes on the destination. QEMU writes the holes of a raw image there as zeros (measured with QEMU 10.0.2);
 * those of a qcow2 image stay holes.
 */
export function neededBytes({ format, capacityBytes, allocatedBytes }: MigratedDisk): number {
  return format === 'raw' ? capacityBytes : allocatedBytes;
}
