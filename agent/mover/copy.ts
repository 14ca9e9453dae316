import { HandoffError } from '../../contract/errors.ts';
import { firstLimitMs } from '../convergence/downtime-limit.ts';
import type { JobStats } from '../hypervisor.ts';
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
import type { CopyContext } from './copy-context.ts';
import {
  type CopyJobState,
  type CopyJobStateName,
  type CopyJobStateOf,
  type CopyJobTransitions,
  PHASE_OF,
} from './copy-job-state.ts';
import { commitRevoked } from './failures.ts';
import { InterruptibleSleep } from './interruptible-sleep.ts';
import { POST_COPY, steerCopy } from './steer-copy.ts';
import { Stopwatch } from './stopwatch.ts';

/** Zero pages may pass for a moment under the brake; after this time the hold is reported as it is. */
const SETTLE_MAX_MS = 1_000;
/** While held: finds a revoked commit record, and keeps the connection to DynamoDB warm for the commit. */
const COMMIT_RECORD_POLL_MS = 5_000;
const COMMIT_RECORD_RETRY_MS = 500;
/** While disks are copied. Their holes pass at any speed, so it is not known when memory begins to flow; a look costs QEMU 0.5 ms. */
const DISKS_LOOK_MS = 50;
/** A pass is seen soon after it has begun; QEMU itself measures in windows of 100 ms. */
const CONVERGING_LOOK_MS = 50;
const RETRY_MS = 500;

/**
 * Drives one copy while libvirt's Perform is under way: brakes it before it converges, holds it, releases it at the cutover, and
 * steers it (agent/convergence/steer.ts) until the guest switches. copy-job-state.ts has the states and their order; here each has a
 * method that does what is due in it and returns when to look again, in ms.
 *
 * The hold is always in the first pass, before anything slows the guest: QEMU's auto-converge takes no pass for too dirty before
 * the first has ended, so a hold costs the guest nothing. All settings are made during the job, because libvirt forgets those made
 * before.
 *
 * Perform's end is not awaited here, and nothing here is awaited by the handover: when Perform returns, `stop()` ends the driving,
 * whatever it waits for.
 */
export class Copy {
  readonly #context: CopyContext;
  readonly #sleep: InterruptibleSleep;
  readonly #active: Stopwatch;
  #state: CopyJobState = { name: 'copying', limited: false };
  /** The newest statistics. */
  #job: JobStats | undefined;
  /** `permitted`: requested, and the commit record seen to be open, before the brake was reached. */
  #release: 'not-requested' | 'requested' | 'permitted' = 'not-requested';
  #abortReason: HandoffError | undefined;

  constructor(context: CopyContext) {
    this.#context = context;
    this.#sleep = new InterruptibleSleep(context.clock);
    this.#active = new Stopwatch(context.clock);
  }

  get job(): JobStats | undefined {
    return this.#job;
  }

  /** The time the copy has been active, holds not counted, in ms. */
  get activeMs(): number {
    return this.#active.elapsedMs;
  }

  /** Why the copy is to be ended, if it is. */
  get abortReason(): HandoffError | undefined {
    return this.#abortReason;
  }

  /** Lets the copy converge once the commit record is seen to be open: without a hold, if that is before the brake is reached. */
  release(): void {
    if (this.#release === 'not-requested') {
      this.#release = 'requested';
      if (this.#state.name === 'approaching') void this.#permitRelease();
    }
    this.#sleep.interrupt();
  }

  /** Asks libvirt to end the job; Perform then rejects. A post-copy is not ended, unless it could not be started. */
  abort(reason: HandoffError): void {
    this.#abortReason ??= reason;
    if (this.#state.name !== 'post-copy') this.#enter(this.#state.name, { name: 'aborting' });
    this.#sleep.interrupt();
  }

  stop(): void {
    this.#enter(this.#state.name, { name: 'stopped' });
    this.#sleep.interrupt();
  }

  /** Returns after `stop()`. A call to libvirt that fails is tried again: if the connection is lost, Perform rejects. */
  async drive(): Promise<void> {
    while (!this.#stopped) {
      const pauseMs = await this.#step(this.#state).catch(() => RETRY_MS);
      if (!this.#stopped) await this.#sleep.for(pauseMs);
    }
  }

  async #step(state: CopyJobState): Promise<number> {
    if (PHASE_OF[state.name] === 'copying' && this.#isOverdue()) this.#abortAtDeadline();
    if (this.#state.name === 'aborting') {
      await this.#context.source.abortJob();
      return RETRY_MS;
    }
    if (state.name === 'held') return this.#hold(state);
    const job = await this.#context.source.job();
    if (this.#state !== state) return 0;
    if (job?.operation !== 'migration-out') return FIRST_LOOK_MS;
    if (job.bytesTotal === 0 && job.disks === undefined) return FIRST_LOOK_MS;
    const before = this.#job;
    this.#job = job;
    if (job.bytesTotal === 0 && state.name === 'copying') return this.#copyDisks(state, job);
    this.#context.onProgress(PHASE_OF[state.name] ?? 'copying', job);
    switch (state.name) {
      case 'copying':
      case 'approaching':
        return this.#copyFirstPass(state, job, before);
      case 'braked':
        return this.#settle(state, job);
      case 'converging':
        return this.#converge(state, job);
      default:
        return CONVERGING_LOOK_MS;
    }
  }

  /** Migrated disks come first. There is nothing to brake yet, but memory may begin to flow at any moment. */
  async #copyDisks(state: CopyJobStateOf<'copying'>, job: JobStats): Promise<number> {
    this.#context.onProgress('copying-disks', job);
    await this.#limit(state);
    return DISKS_LOOK_MS;
  }

  async #copyFirstPass(
    state: CopyJobStateOf<'copying' | 'approaching'>,
    job: JobStats,
    before: JobStats | undefined,
  ): Promise<number> {
    const { announceMs, onApproaching } = this.#context;
    const rate = shrinkRate(job, before);
    if (state.name === 'copying' && announceMs > 0 && msToBrake(job, rate) <= announceMs) {
      const approaching = { ...state, name: 'approaching' } as const;
      this.#enter('copying', approaching);
      onApproaching({
        bytesRemaining: job.bytesRemaining,
        bytesTransferred: job.bytesProcessed,
        copyMs: this.activeMs,
      });
      return this.#brakeOrLimit(approaching, job, rate);
    }
    if (state.name === 'approaching' && state.limited && this.#release === 'permitted') return this.#letConverge(state);
    return this.#brakeOrLimit(state, job, rate);
  }

  async #brakeOrLimit(
    state: CopyJobStateOf<'copying' | 'approaching'>,
    job: JobStats,
    bytesPerSecond: number,
  ): Promise<number> {
    const { source, clock } = this.#context;
    if (!mustBrake(job, bytesPerSecond)) {
      await this.#limit(state);
      return nextLookMs(job, bytesPerSecond);
    }
    if (!state.limited) await source.setMaxDowntimeMs(BRAKE_DOWNTIME_MS);
    if (this.#state !== state) return 0;
    await source.setMaxSpeedMiBps(BRAKE_SPEED_MIBPS);
    this.#enter(state.name, { name: 'braked', since: clock.now(), job });
    return SETTLE_LOOK_MS;
  }

  /**
   * At the first look: the rest of a guest may be zero pages, which pass before the brake is reached (250 MiB in 100 ms were seen),
   * and with the usual downtime limit of 300 ms it would switch there and then.
   */
  async #limit(state: CopyJobStateOf<'copying' | 'approaching'>): Promise<void> {
    if (state.limited) return;
    const { source, policy } = this.#context;
    await source.setMaxSpeedMiBps(policy.bandwidthMiBps);
    await source.setMaxDowntimeMs(BRAKE_DOWNTIME_MS);
    this.#enter(state.name, { ...state, limited: true });
  }

  /** Beside the looks, which must not wait for AWS. With any other commit record, or no answer, the copy is held. */
  async #permitRelease(): Promise<void> {
    const commitRecord = await this.#context.readCommitRecord().catch(() => undefined);
    if (commitRecord === 'OPEN') this.#release = 'permitted';
    this.#sleep.interrupt();
  }

  #settle(state: CopyJobStateOf<'braked'>, job: JobStats): number {
    if (!hasSettled(job, state.job) && this.#context.clock.now() - state.since < SETTLE_MAX_MS) {
      this.#enter('braked', { ...state, job });
      return SETTLE_LOOK_MS;
    }
    this.#active.pause();
    this.#enter('braked', { name: 'held' });
    this.#context.onHeld({
      guaranteedHoldSeconds: guaranteedHoldSeconds(job.bytesRemaining),
      bytesRemaining: job.bytesRemaining,
      bytesTransferred: job.bytesProcessed,
      copyMs: this.activeMs,
    });
    return 0;
  }

  /** While AWS is away the hold continues, for as long as the rest lasts. */
  async #hold(state: CopyJobStateOf<'held'>): Promise<number> {
    const commitRecord = await this.#context.readCommitRecord().catch(() => 'unreachable' as const);
    if (this.#state !== state) return 0;
    if (commitRecord === 'unreachable') return COMMIT_RECORD_RETRY_MS;
    if (commitRecord !== 'OPEN') {
      this.abort(commitRevoked(commitRecord));
      return 0;
    }
    return this.#release === 'not-requested' ? COMMIT_RECORD_POLL_MS : this.#letConverge(state);
  }

  async #letConverge(state: CopyJobStateOf<'approaching' | 'held'>): Promise<number> {
    const { source, policy } = this.#context;
    const limitMs = firstLimitMs(policy.blackoutBudgetMs);
    // The limit first: with full speed and the brake's limit, QEMU would send the guest's last few pages over and over.
    await source.setMaxDowntimeMs(limitMs);
    if (state.name === 'held') {
      await source.setMaxSpeedMiBps(policy.bandwidthMiBps);
      this.#active.resume();
    }
    this.#enter(state.name, { name: 'converging', limitMs, iterations: [] });
    return FIRST_LOOK_MS;
  }

  async #converge(state: CopyJobStateOf<'converging'>, job: JobStats): Promise<number> {
    const next = await steerCopy(this.#context, state, job, this.activeMs);
    if (next instanceof HandoffError) this.abort(next);
    else this.#enter('converging', next);
    if (next === POST_COPY && this.#state === POST_COPY) await this.#startPostCopy();
    return CONVERGING_LOOK_MS;
  }

  async #startPostCopy(): Promise<void> {
    try {
      await this.#context.startPostCopy();
    } catch (cause) {
      this.#abortReason ??=
        cause instanceof HandoffError
          ? cause
          : new HandoffError('CopyFailed', 'post-copy could not be started', { cause });
      this.#enter('post-copy', { name: 'aborting' });
    }
  }

  /** What is not copied once cannot be switched to, so before the hold there is no measure but to give up. */
  #abortAtDeadline(): void {
    const { deadlineSeconds } = this.#context.policy;
    const { bytesRemaining, bytesPerSecond, dirtyBytesPerSecond } = this.#job ?? {};
    this.abort(
      new HandoffError('DeadlineExceeded', `the copy did not converge within ${deadlineSeconds} s`, {
        detail: { bytesRemaining, bytesPerSecond, dirtyBytesPerSecond },
      }),
    );
  }

  /** The deadline is for the copy's own activity; the time it is held does not count. */
  #isOverdue(): boolean {
    return this.activeMs > this.#context.policy.deadlineSeconds * 1_000;
  }

  get #stopped(): boolean {
    return this.#state.name === 'stopped';
  }

  /** The only place where the state changes. A step that an abort or a stop has overtaken changes nothing, and stopped is final. */
  #enter<From extends CopyJobStateName>(from: From, to: CopyJobStateOf<CopyJobTransitions[From]>): void {
    if (this.#state.name !== from || this.#stopped) return;
    this.#state = to;
    const phase = PHASE_OF[to.name];
    if (phase !== undefined && phase !== PHASE_OF[from]) this.#context.onProgress(phase, this.#job);
  }
}
