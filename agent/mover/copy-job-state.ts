import type { Iteration } from '../convergence/iterations.ts';
import type { JobStats } from '../hypervisor.ts';

/**
 * Where a copy stands while libvirt's Perform is under way.
 *
 *     copying -> approaching -> braked -> held -> converging -> post-copy
 *
 * The hold is left out where the release comes in time, and post-copy unless steering begins it. Each state but post-copy can end in
 * `aborting`, and each in `stopped`, when Perform has returned.
 */
export type CopyJobState =
  /** The first pass, or disks before it, at the policy's speed. `limited`: that speed and the smallest downtime limit are set. */
  | { name: 'copying'; limited: boolean }
  /** As copying, and the control plane knows that the hold is near. */
  | { name: 'approaching'; limited: boolean }
  /** The speed is the lowest; statistics must show that the brake has bitten. `since`: ms of the clock. `job`: the look before. */
  | { name: 'braked'; since: number; job: JobStats }
  /** Waits for the release. */
  | { name: 'held' }
  /** Released: passes until one fits into QEMU's downtime limit, in ms. `iterations`: those since the release. */
  | { name: 'converging'; limitMs: number; iterations: readonly Iteration[] }
  /** The guest may run on the destination already, so the job must not be ended. */
  | { name: 'post-copy' }
  /** libvirt is asked to end the job until Perform rejects. */
  | { name: 'aborting' }
  | { name: 'stopped' };

export type CopyJobStateName = CopyJobState['name'];
export type CopyJobStateOf<N extends CopyJobStateName> = Extract<CopyJobState, { name: N }>;

/** Which states may follow a state, itself with other data included. `Copy` cannot be compiled with any other transition. */
export interface CopyJobTransitions {
  copying: 'copying' | 'approaching' | 'braked' | 'aborting' | 'stopped';
  approaching: 'approaching' | 'braked' | 'converging' | 'aborting' | 'stopped';
  braked: 'braked' | 'held' | 'aborting' | 'stopped';
  held: 'converging' | 'aborting' | 'stopped';
  converging: 'converging' | 'post-copy' | 'aborting' | 'stopped';
  /** Aborting only where post-copy could not be started. */
  'post-copy': 'aborting' | 'stopped';
  aborting: 'stopped';
  stopped: never;
}

export type CopyPhase = 'copying-disks' | 'copying' | 'held' | 'switching';

/** What is reported of a state; nothing of one in which the copy ends. */
export const PHASE_OF: Readonly<Record<CopyJobStateName, Exclude<CopyPhase, 'copying-disks'> | undefined>> = {
  copying: 'copying',
  approaching: 'copying',
  braked: 'copying',
  held: 'held',
  converging: 'switching',
  'post-copy': 'switching',
  aborting: undefined,
  stopped: undefined,
};
