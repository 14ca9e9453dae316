import type { JobStats } from '../hypervisor.ts';

/**
 * What a pass had to send as it began. QEMU counts a pass whenever it looks what the guest has dirtied, which with auto-converge it
 * also does every 5 s within a long one; what is left after such a look tells of net progress either way.
 */
export interface Iteration {
  iteration: number;
  bytes: number;
  throttlePercent: number;
  /** Sent until then, and for how long the job had lasted. */
  bytesProcessed: number;
  elapsedMs: number;
  /** The guest's, as QEMU found it when the pass began. */
  dirtyBytesPerSecond: number;
}

/** The passes with what this look shows; the very same list when no new pass has begun. */
export function withLook(iterations: readonly Iteration[], job: JobStats): readonly Iteration[] {
  const last = iterations.at(-1);
  if (last !== undefined && job.iteration <= last.iteration) return iterations;
  const { iteration, bytesRemaining, throttlePercent = 0, bytesProcessed, elapsedMs, dirtyBytesPerSecond } = job;
  return [
    ...iterations,
    { iteration, bytes: bytesRemaining, throttlePercent, bytesProcessed, elapsedMs, dirtyBytesPerSecond },
  ];
}

/** Bytes per second that the last whole pass was sent at; undefined before there is one. */
export function bandwidthOf(iterations: readonly Iteration[]): number | undefined {
  const [before, last] = iterations.slice(-2);
  if (before === undefined || last === undefined || last.elapsedMs <= before.elapsedMs) return undefined;
  const rate = ((last.bytesProcessed - before.bytesProcessed) * 1_000) / (last.elapsedMs - before.elapsedMs);
  return rate > 0 ? rate : undefined;
}
