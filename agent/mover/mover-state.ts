import type { HandoffError } from '../../contract/errors.ts';
import type { Progress } from '../../contract/facts.ts';
import type { JobStats } from '../hypervisor.ts';
import type { Copy } from './copy.ts';
import type { CopyPhase } from './copy-job-state.ts';

/**
 * Where a migration stands for its mover; `phase` is what is reported of it.
 *
 *     preparing -> copying -> switching-over -> confirming -> ended
 *
 * A failure leads from any of them to `ended`. A post-copy is committed during the copy, so the switchover then begins before
 * Perform has returned.
 */
export type MoverState =
  /** Connects, then Begin and Prepare. `cancelled`: the copy does not start. */
  | { name: 'preparing'; phase: 'preparing'; cancelled?: HandoffError }
  /** Perform is under way, or has returned, and no commit was tried: it can still be cancelled. */
  | { name: 'copying'; phase: CopyPhase; copy: Copy }
  /** The commit is under way or has its answer: from here on the handover alone decides how the migration ends. */
  | {
      name: 'switching-over';
      phase: 'committed' | 'finishing' | 'post-copy';
      copy: Copy;
      /** When the commit's answer came, in ms of the clock. */
      committedAt?: number;
      /** In a post-copy: the newest statistics of the rest of the memory. */
      rest?: JobStats;
    }
  /** The VM runs on the destination, and that is reported; the source's paused copy is being removed. */
  | { name: 'confirming'; phase: 'confirming' }
  /** The outcome is reported; `phase` is the last one. */
  | { name: 'ended'; phase: Progress['phase'] };

export type MoverStateOf<N extends MoverState['name']> = Extract<MoverState, { name: N }>;
