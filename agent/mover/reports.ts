import type { Clock } from '../../common/clock.ts';
import type { Progress } from '../../contract/facts.ts';
import type { GuestReachability, Observation } from '../../contract/forecast.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { messageOf } from '../error-message.ts';
import type { JobStats } from '../hypervisor.ts';
import type { Mailbox } from '../mailbox.ts';
import { type FailureReport, type Outcome, Reporter } from '../reporter.ts';
import type { Approach, Hold } from './copy.ts';

/** How a migration ended, before it is known which request will hear of it. */
export type End =
  | {
      kind: 'switched';
      downtimeMs: number;
      commitMs: number;
      finishedAt: number;
      pausedAt: number;
      /** From Begin to Finish's answer, holds not counted. */
      activeMs: number;
      postCopy: boolean;
      bytesTransferred: number;
      blackout: Observation;
    }
  | { kind: 'failed'; failure: FailureReport };

/** AWS may be away for a while; an outcome is kept for it that long. */
const PATIENCE_MS = 30 * 60_000;

/**
 * Whom the mover tells what: the pre-copy request hears of everything until the copy is held, or about to be (or of an early
 * end), the cutover request of everything after it. Between the two nobody listens, so an end that comes then is kept for the
 * cutover order.
 */
export class MoverReports {
  readonly #mailbox: Mailbox;
  readonly #clock: Clock;
  readonly #order: TaskOf<'precopy'>;
  readonly #log: (message: string) => void;
  readonly #precopy: Reporter;
  readonly #begunAt: number;
  readonly #written: Promise<void>[] = [];
  #cutover: { reporter: Reporter; acceptedAt: number } | undefined;
  #announced = false;
  #hold: Hold | undefined;
  #end: End | undefined;

  constructor(mailbox: Mailbox, clock: Clock, task: TaskOf<'precopy'>, log: (message: string) => void) {
    this.#mailbox = mailbox;
    this.#clock = clock;
    this.#order = task;
    this.#log = log;
    this.#precopy = this.#reporter(task.requestId, 'precopy');
    this.#begunAt = clock.now();
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  get cutoverAccepted(): boolean {
    return this.#cutover !== undefined;
  }

  /** An end that nobody has heard of yet. */
  get waitsForCutover(): boolean {
    return this.#announced && this.#cutover === undefined;
  }

  cutover(requestId: string): void {
    this.#cutover = { reporter: this.#reporter(requestId, 'cutover'), acceptedAt: this.#clock.now() };
    if (this.#end !== undefined) this.#tellCutover(this.#end);
  }

  progress(phase: Progress['phase'], job: JobStats | undefined): void {
    const reporter = this.#cutover?.reporter ?? (this.#announced ? undefined : this.#precopy);
    reporter?.progress({
      phase,
      bytesTotal: job?.bytesTotal ?? 0,
      bytesProcessed: job?.bytesProcessed ?? 0,
      bytesRemaining: job?.bytesRemaining ?? 0,
      bytesPerSecond: job?.bytesPerSecond ?? 0,
      dirtyBytesPerSecond: job?.dirtyBytesPerSecond ?? 0,
      iteration: job?.iteration ?? 0,
      throttlePercent: job?.throttlePercent ?? 0,
      ...(job?.disks && { disks: job.disks }),
      elapsedMs: this.#clock.now() - this.#begunAt,
    });
  }

  /** Told with whatever is reported next: to the pre-copy request until it has its answer, then to the cutover's. */
  decided(event: string, detail: Record<string, unknown>): void {
    const reporter = this.#cutover?.reporter ?? (this.#announced ? undefined : this.#precopy);
    reporter?.decided(event, detail);
  }

  near(approach: Approach & { guest?: GuestReachability }): void {
    this.#announced = true;
    this.#write(this.#precopy, { result: { stage: 'precopy', precopy: 'approaching', ...approach } });
  }

  /** Told with the cutover's outcome where the pre-copy request had its answer before. */
  hold(hold: Hold & { guest?: GuestReachability }): void {
    if (this.#announced) {
      this.#hold = hold;
      return;
    }
    this.#announced = true;
    this.#write(this.#precopy, { result: { stage: 'precopy', precopy: 'held', ...hold } });
  }

  end(end: End): void {
    this.#end = end;
    if (!this.#announced) this.#write(this.#precopy, this.#precopyOutcome(end));
    this.#tellCutover(end);
  }

  /** Resolves when every outcome is written, or given up. */
  async allWritten(): Promise<void> {
    await Promise.all(this.#written);
  }

  #precopyOutcome(end: End): Outcome {
    if (end.kind === 'failed') return end;
    return {
      result: {
        stage: 'precopy',
        precopy: 'completed',
        bytesRemaining: 0,
        bytesTransferred: end.bytesTransferred,
        copyMs: end.pausedAt - this.#begunAt,
        downtimeMs: end.downtimeMs,
        activeMs: end.activeMs,
        blackout: end.blackout,
      },
    };
  }

  #tellCutover(end: End): void {
    if (this.#cutover === undefined) return;
    const { reporter, acceptedAt } = this.#cutover;
    if (end.kind === 'failed') {
      this.#write(reporter, end);
      return;
    }
    const { downtimeMs, commitMs, bytesTransferred, finishedAt, pausedAt, activeMs, postCopy, blackout } = end;
    // A guest that converged before the task came has switched without waiting for it.
    const switchMs = finishedAt - Math.min(acceptedAt, pausedAt);
    this.#write(reporter, {
      result: {
        stage: 'cutover',
        downtimeMs,
        commitMs,
        switchMs,
        bytesTransferred,
        ...(this.#hold && { guaranteedHoldSeconds: this.#hold.guaranteedHoldSeconds }),
        activeMs,
        postCopy,
        blackout,
      },
    });
  }

  #write(reporter: Reporter, outcome: Outcome): void {
    const written = reporter.end(outcome, PATIENCE_MS);
    this.#written.push(written.catch((error) => this.#log(`An outcome could not be reported: ${messageOf(error)}`)));
  }

  #reporter(requestId: string, stage: 'precopy' | 'cutover'): Reporter {
    const { migrationId, role } = this.#order;
    return new Reporter(this.#mailbox, this.#clock, { requestId, migrationId, stage, role });
  }
}
