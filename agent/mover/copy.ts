import type { Clock } from '../../common/clock.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Plan } from '../../contract/forecast.ts';
import type { CommitRecordState } from '../../contract/mailbox.ts';
import type { Policy } from '../../contract/policy.ts';
import { noticesOf } from '../convergence/copy-events.ts';
import { firstLimitMs } from '../convergence/downtime-limit.ts';
import { type Iteration, withLook } from '../convergence/iterations.ts';
import { type Move, steer } from '../convergence/steer.ts';
import type { Domain, JobStats } from '../hypervisor.ts';
import {
  BRAKE_DOWNTIME_MS,
  BRAKE_SPEED_MIBPS,
  FIRST_LOOK_MS,
  guaranteedHoldSeconds,
  hasSettled,
  msToBrake,
  mustBrake,
  nextLookMs,
  SETTLE_LOOK_MS,
  shrinkRate,
} from './brake.ts';
import { Pace } from './interruptible-sleep.ts';

export interface Hold {
  guaranteedHoldSeconds: number;
  bytesRemaining: number;
  bytesTransferred: number;
  /** From the copy's begin to the hold, in ms. */
  copyMs: number;
}

/** A copy that will soon be held. */
export type Approach = Omit<Hold, 'guaranteedHoldSeconds'>;

export interface CopyParties {
  source: Domain;
  clock: Clock;
  policy: Policy;
  plan: Plan;
  readCommitRecord(): Promise<CommitRecordState | undefined>;
  /** New statistics, or a new phase. */
  onProgress(phase: CopyPhase, job: JobStats | undefined): void;
  onHeld(hold: Hold): void;
  /** How long before the hold `onNear` is called, once, in ms; 0: never. */
  announceMs: number;
  onNear(approach: Approach): void;
  /** Something was decided or noticed on the way, with the numbers. */
  onDecision(event: string, detail: Record<string, unknown>): void;
  /** Commits the handover and has the guest switch; a rejection means that it has not, and will not. */
  startPostCopy(): Promise<void>;
}

export type CopyPhase = 'copying-disks' | 'copying' | 'held' | 'switching';

/** Zero pages may pass for a moment under the brake; longer than this the hold is reported as it is. */
const SETTLE_MAX_MS = 1_000;
/** While held: notices a revoked commit record, and keeps the connection to DynamoDB warm for the commit. */
const COMMIT_RECORD_POLL_MS = 5_000;
const COMMIT_RECORD_RETRY_MS = 500;
/** While disks are copied. Their holes pass at any speed, so nobody knows when the memory's turn comes; a look costs QEMU 0.5 ms. */
const DISKS_LOOK_MS = 50;
/** A pass is seen soon after it has begun; QEMU itself judges by windows of 100 ms. */
const SWITCHING_LOOK_MS = 50;
const ABORT_RETRY_MS = 500;

/**
 * Drives one copy while libvirt's Perform is under way: brakes it before it converges, holds it, lets it go at the cutover, and
 * then steers it (agent/convergence/steer.ts) until the guest switches.
 *
 * Where the release comes before the brake, there is no hold. Held is always the first pass, before anything slows the guest:
 * QEMU's auto-converge takes no pass for too dirty before the first has ended, so a hold costs the guest nothing. All settings are
 * made during the job, since libvirt forgets those made before.
 *
 * Perform's end is not awaited here, and nothing here is awaited by the handover: when Perform returns, `stop()` ends the
 * driving at whatever it was waiting for.
 */
export class Copy {
  readonly #parties: CopyParties;
  readonly #pace: Pace;
  #phase: Exclude<CopyPhase, 'copying-disks'> = 'copying';
  #job: JobStats | undefined;
  #braked: { at: number; look: JobStats } | undefined;
  #limited = false;
  #iterations: readonly Iteration[] = [];
  #limitMs = BRAKE_DOWNTIME_MS;
  #inPostCopy = false;
  #stopped = false;
  #aborted: HandoffError | undefined;
  #announced = false;
  #released = false;
  /** The copy was released, and its commit record seen to be open, before the brake was reached: it need not be held. */
  #cleared = false;
  #activeMs = 0;
  #since: number;

  constructor(parties: CopyParties) {
    this.#parties = parties;
    this.#pace = new Pace(parties.clock);
    this.#since = parties.clock.now();
  }

  get job(): JobStats | undefined {
    return this.#job;
  }

  /** What the copy has been at work for, holds not counted, in ms. */
  get activeMs(): number {
    const now = this.#phase === 'held' ? 0 : this.#parties.clock.now() - this.#since;
    return this.#activeMs + now;
  }

  /** Why the copy is being ended, if it is. */
  get aborted(): HandoffError | undefined {
    return this.#aborted;
  }

  /** Lets the copy converge, as soon as the commit record is seen to be open: without a hold, if that is before the brake is reached. */
  release(): void {
    if (!this.#released) {
      this.#released = true;
      if (this.#announced && this.#phase === 'copying') void this.#clear();
    }
    this.#pace.wake();
  }

  /** Beside the looks, which must not wait for AWS. Whatever else the commit record is, or no answer: the hold will see to it. */
  async #clear(): Promise<void> {
    const commitRecord = await this.#parties.readCommitRecord().catch(() => undefined);
    this.#cleared = commitRecord === 'OPEN';
    this.#pace.wake();
  }

  /** Asks libvirt to end the job; Perform then rejects. */
  abort(reason: HandoffError): void {
    this.#aborted ??= reason;
    this.#pace.wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#pace.wake();
  }

  /** Returns after `stop()`. A call to libvirt that fails is tried again: if the connection is gone, Perform will say so. */
  async drive(): Promise<void> {
    while (!this.#stopped) {
      let pauseMs: number;
      try {
        pauseMs = await this.#step();
      } catch {
        pauseMs = ABORT_RETRY_MS;
      }
      if (!this.#stopped) await this.#pace.sleep(pauseMs);
    }
  }

  /** Does what is due, and says when to look again, in ms. */
  async #step(): Promise<number> {
    if (this.#aborted === undefined && this.#phase === 'copying' && this.#overdue()) this.#abortAtDeadline();
    if (this.#aborted !== undefined && !this.#inPostCopy) {
      await this.#parties.source.abortJob();
      return ABORT_RETRY_MS;
    }
    if (this.#phase === 'held') return this.#hold();
    const before = this.#job;
    const job = await this.#parties.source.job();
    if (this.#stopped || job?.operation !== 'migration-out') return FIRST_LOOK_MS;
    if (job.bytesTotal === 0) return job.disks === undefined ? FIRST_LOOK_MS : this.#copyDisks(job);
    this.#job = job;
    this.#parties.onProgress(this.#phase, job);
    if (this.#phase === 'switching') return this.#converge(job);
    return this.#braked === undefined ? this.#copy(job, before) : this.#settle(job, this.#braked);
  }

  async #copy(job: JobStats, before: JobStats | undefined): Promise<number> {
    const rate = shrinkRate(job, before);
    if (this.#cleared && this.#limited) return this.#letGo();
    this.#announceIfNear(job, rate);
    if (mustBrake(job, rate)) {
      await this.#tighten();
      if (this.#stopped) return 0;
      await this.#parties.source.setMaxSpeedMiBps(BRAKE_SPEED_MIBPS);
      this.#braked = { at: this.#parties.clock.now(), look: job };
      return SETTLE_LOOK_MS;
    }
    await this.#limit();
    return nextLookMs(job, rate);
  }

  /** Disks that are copied along come first. There is nothing to brake yet, but memory may begin to flow at any moment. */
  async #copyDisks(job: JobStats): Promise<number> {
    this.#job = job;
    this.#parties.onProgress('copying-disks', job);
    await this.#limit();
    return DISKS_LOOK_MS;
  }

  async #limit(): Promise<void> {
    if (this.#limited) return;
    await this.#parties.source.setMaxSpeedMiBps(this.#parties.policy.bandwidthMiBps);
    await this.#tighten();
    this.#limited = true;
  }

  /**
   * From the first look on: a guest whose rest is zero pages can be at its end before the brake is reached (250 MiB in 100 ms
   * were seen), and with the usual limit of 300 ms it would switch there and then.
   */
  async #tighten(): Promise<void> {
    if (!this.#limited) await this.#parties.source.setMaxDowntimeMs(BRAKE_DOWNTIME_MS);
  }

  #announceIfNear(job: JobStats, rate: number): void {
    const { announceMs, onNear } = this.#parties;
    if (this.#announced || announceMs === 0 || msToBrake(job, rate) > announceMs) return;
    this.#announced = true;
    onNear({ bytesRemaining: job.bytesRemaining, bytesTransferred: job.bytesProcessed, copyMs: this.activeMs });
  }

  #settle(job: JobStats, braked: { at: number; look: JobStats }): number {
    const { clock } = this.#parties;
    if (!hasSettled(job, braked.look) && clock.now() - braked.at < SETTLE_MAX_MS) {
      this.#braked = { ...braked, look: job };
      return SETTLE_LOOK_MS;
    }
    this.#activeMs += clock.now() - this.#since;
    this.#enter('held');
    this.#parties.onHeld({
      guaranteedHoldSeconds: guaranteedHoldSeconds(job.bytesRemaining),
      bytesRemaining: job.bytesRemaining,
      bytesTransferred: job.bytesProcessed,
      copyMs: this.#activeMs,
    });
    return 0;
  }

  /** Never hurries: while AWS is away the hold goes on, for as long as the rest lasts. */
  async #hold(): Promise<number> {
    let commitRecord: CommitRecordState | undefined;
    try {
      commitRecord = await this.#parties.readCommitRecord();
    } catch {
      return COMMIT_RECORD_RETRY_MS;
    }
    if (this.#stopped) return 0;
    if (commitRecord !== 'OPEN') {
      this.abort(commitRevoked(commitRecord));
      return 0;
    }
    // An abort may have come while the commit record was read.
    if (!this.#released || this.#aborted !== undefined) return this.#aborted ? 0 : COMMIT_RECORD_POLL_MS;
    return this.#letGo();
  }

  async #letGo(): Promise<number> {
    const { source, policy, clock } = this.#parties;
    // The small limit first: with full speed and none, QEMU would send the guest's last few pages over and over.
    this.#limitMs = firstLimitMs(policy.blackoutBudgetMs);
    await source.setMaxDowntimeMs(this.#limitMs);
    if (this.#phase === 'held') {
      await source.setMaxSpeedMiBps(policy.bandwidthMiBps);
      this.#since = clock.now();
    }
    this.#enter('switching');
    return FIRST_LOOK_MS;
  }

  /** Looks at the released copy, and does what is decided from that. */
  async #converge(job: JobStats): Promise<number> {
    if (this.#inPostCopy) return SWITCHING_LOOK_MS;
    const { plan, policy } = this.#parties;
    const before = this.#iterations;
    this.#iterations = withLook(before, job);
    const newIteration = this.#iterations !== before;
    if (newIteration)
      for (const { event, detail } of noticesOf(this.#iterations)) this.#parties.onDecision(event, detail);
    const move = steer({
      iterations: this.#iterations,
      job,
      newIteration,
      limitMs: this.#limitMs,
      activeMs: this.activeMs,
      plan,
      policy,
    });
    await this.#carryOut(move);
    return SWITCHING_LOOK_MS;
  }

  async #carryOut(move: Move): Promise<void> {
    const { source, onDecision } = this.#parties;
    switch (move.kind) {
      case 'wait':
        return;
      case 'raise-limit':
        await source.setMaxDowntimeMs(move.limitMs);
        onDecision('downtime limit raised', { limitMs: move.limitMs, ...move.why });
        this.#limitMs = move.limitMs;
        return;
      case 'post-copy':
        onDecision('post-copy', move.why);
        return this.#startPostCopy();
      case 'give-up':
        onDecision('given up', move.why);
        this.abort(new HandoffError(move.code, `the copy was given up: ${move.why.because}`, { detail: move.why }));
    }
  }

  async #startPostCopy(): Promise<void> {
    // From the call on nobody here may end the job: the guest may run on the destination already.
    this.#inPostCopy = true;
    try {
      await this.#parties.startPostCopy();
    } catch (error) {
      this.#inPostCopy = false;
      this.abort(
        error instanceof HandoffError
          ? error
          : new HandoffError('CopyFailed', 'post-copy could not be started', { cause: error }),
      );
    }
  }

  #enter(phase: 'held' | 'switching'): void {
    this.#phase = phase;
    if (!this.#stopped) this.#parties.onProgress(phase, this.#job);
  }

  /** Before the hold there is no other measure: what is not copied once can't be switched to. */
  #abortAtDeadline(): void {
    const { deadlineSeconds } = this.#parties.policy;
    const { bytesRemaining, bytesPerSecond, dirtyBytesPerSecond } = this.#job ?? {};
    this.#aborted = new HandoffError('DeadlineExceeded', `the copy did not converge within ${deadlineSeconds} s`, {
      detail: { bytesRemaining, bytesPerSecond, dirtyBytesPerSecond },
    });
  }

  /** The deadline is for the copy's own work; the time it is held at our wish does not count. */
  #overdue(): boolean {
    return this.activeMs > this.#parties.policy.deadlineSeconds * 1_000;
  }
}

export function commitRevoked(commitRecord: CommitRecordState | undefined): HandoffError {
  return new HandoffError(
    'CommitRevoked',
    commitRecord === undefined
      ? 'there is no commit record for this migration, so the control plane does not permit a handover'
      : `the commit record is ${commitRecord}: the control plane no longer permits this mover to hand over`,
  );
}
