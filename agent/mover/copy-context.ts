import type { Clock } from '../../common/clock.ts';
import type { Plan } from '../../contract/forecast.ts';
import type { CommitRecordState } from '../../contract/mailbox.ts';
import type { Policy } from '../../contract/policy.ts';
import type { Domain, JobStats } from '../hypervisor.ts';
import type { CopyPhase } from './copy-job-state.ts';

export interface Hold {
  guaranteedHoldSeconds: number;
  bytesRemaining: number;
  bytesTransferred: number;
  /** From the copy's begin to the hold, in ms. */
  copyMs: number;
}

/** A copy that will soon be held. */
export type Approach = Omit<Hold, 'guaranteedHoldSeconds'>;

export interface CopyContext {
  source: Domain;
  clock: Clock;
  policy: Policy;
  plan: Plan;
  /** How long before the hold `onApproaching` is called, once, in ms; 0: never. */
  announceMs: number;
  readCommitRecord(): Promise<CommitRecordState | undefined>;
  /** Commits the handover and has the guest switch; a rejection means that it has not, and will not. */
  startPostCopy(): Promise<void>;
  /** New statistics, or a new phase. */
  onProgress(phase: CopyPhase, job: JobStats | undefined): void;
  onApproaching(approach: Approach): void;
  onHeld(hold: Hold): void;
  /** An event of the copy, or a decision about it, with the numbers it was made from. */
  onDecision(event: string, detail: Record<string, unknown>): void;
}
