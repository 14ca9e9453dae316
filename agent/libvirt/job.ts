import type { JobStats } from '../hypervisor.ts';
import { numberIn, type ParameterValues } from './typed-parameters.ts';

/** virDomainJobOperation. */
const OPERATIONS: Record<number, JobStats['operation']> = { 4: 'migration-in', 5: 'migration-out' };

/**
 * Job statistics from libvirt's fields. What a phase of the job does not report counts as 0: before the first bytes
 * flow there is no rate, and only memory has a dirty rate (in pages).
 */
export function jobStatsOf(values: ParameterValues): JobStats {
  const number = (field: string) => numberIn(values, field) ?? 0;
  const downtimeMs = numberIn(values, 'downtime');
  return {
    operation: OPERATIONS[number('operation')] ?? 'other',
    elapsedMs: number('time_elapsed'),
    bytesTotal: number('memory_total'),
    bytesProcessed: number('memory_processed'),
    bytesRemaining: number('memory_remaining'),
    bytesPerSecond: number('memory_bps'),
    dirtyBytesPerSecond: number('memory_dirty_rate') * number('memory_page_size'),
    iteration: number('memory_iteration'),
    ...(number('disk_total') > 0 && {
      disks: {
        bytesTotal: number('disk_total'),
        bytesProcessed: number('disk_processed'),
        bytesRemaining: number('disk_remaining'),
      },
    }),
    throttlePercent: number('auto_converge_throttle'),
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
  };
}

/** The destination's side of a migration: libvirt keeps no numbers there while it lasts. */
export const INCOMING_JOB: JobStats = jobStatsOf(new Map([['operation', 4]]));
