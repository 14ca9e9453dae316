import type { JobStats } from '../hypervisor.ts';

/**
 * A pass, as it began. QEMU counts a pass at each synchronization of the dirty bitmap, which with auto-converge also happens every 5 s
 * within a long pass; the remaining bytes after a synchronization show the net progress in both cases.
 */
export interface Iteration {
  iteration: number;
  bytes: number;
  throttlePercent: number;
  /** Sent before this pass, and the age of the job at its beginning. */
  bytesProcessed: number;
  elapsedMs: number;
  /** The guest's dirty rate, as QEMU measured it when the pass began. */
  dirtyBytesPerSecond: number;
}

/** The passes including the one that these statistics show; the same list when no new pass has begun. */
export function withLook(iterations: readonly Iteration[], job: JobStats): readonly Iteration[] {
  const last = iterations.at(-1);
  if (last !== undefined && job.iteration <= last.iteration) return iterations;
  const { iteration, bytesRemaining, throttlePercent = 0, bytesProcessed, elapsedMs, dirtyBytesPerSecond } = job;
  return [
    ...iterations,
    { iteration, bytes: bytesRemaining, throttlePercent, bytesProcessed, elapsedMs, dirtyBytesPerSecond },
  ];
}

/** The rate of the last complete pass, in bytes per second; undefined before there is one. */
export function bandwidthOf(iterations: readonly Iteration[]): number | undefined {
  const [before, last] = iterations.slice(-2);
  if (before === undefined || last === undefined || last.elapsedMs <= before.elapsedMs) return undefined;
  const rate = ((last.bytesProcessed - before.bytesProcessed) * 1_000) / (last.elapsedMs - before.elapsedMs);
  return rate > 0 ? rate : undefined;
}
