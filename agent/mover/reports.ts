import type { Clock } from '../../common/clock.ts';
import type { Progress } from '../../contract/facts.ts';
import type { GuestReachability, Observation } from '../../contract/forecast.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { messageOf } from '../error-message.ts';
import type { JobStats } from '../hypervisor.ts';
import type { Log } from '../log/log.ts';
import type { Mailbox } from '../mailbox.ts';
import { type FailureReport, type Outcome, Reporter } from '../reporter.ts';
import type { Approach, Hold } from './copy-context.ts';

/** The VM runs on the destination. */
export interface Switched {
  /** QEMU's own figure, in ms. */
  downtimeMs: number;
  /** The part of the blackout that the commit took, in ms. */
  commitMs: number;
  /** When the guest stopped, and when Finish answered, in ms of the clock. */
  pausedAt: number;
  finishedAt: number;
  /** From Begin to Finish's answer, holds not counted, in ms. */
  activeMs: number;
  postCopy: boolean;
  bytesTransferred: number;
  blackout: Observation;
}

/** How a migration ended, whichever request will have it reported. */
export type End = ({ kind: 'switched' } & Switched) | { kind: 'failed'; failure: FailureReport };

/** AWS may be away for a while; a report of an outcome is tried again for this long. */
const PATIENCE_MS = 30 * 60_000;

/**
 * Which request the mover reports to: the pre-copy request has everything until the copy is held or about to be (or until an end
 * before that), the cutover request everything after it. Between the two there is no request, so an end in that time is kept for the
 * cutover request.
 */
export class MoverReports {
  readonly #mailbox: Mailbox;
  readonly #clock: Clock;
  readonly #task: TaskOf<'precopy'>;
  readonly #log: Log;
  readonly #precopy: Reporter;
  readonly #begunAt: number;
  readonly #written: Promise<void>[] = [];
  #cutover: { reporter: Reporter; acceptedAt: number } | undefined;
  /** The pre-copy request has its outcome. */
  #precopyAnswered = false;
  #hold: Hold | undefined;
  #end: End | undefined;

  constructor(mailbox: Mailbox, clock: Clock, task: TaskOf<'precopy'>, log: Log) {
    this.#mailbox = mailbox;
    this.#clock = clock;
    this.#task = task;
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

  /** No request has the end reported yet. */
  get waitsForCutover(): boolean {
    return this.#precopyAnswered && this.#cutover === undefined;
  }

  cutover(requestId: string): void {
    this.#cutover = { reporter: this.#reporter(requestId, 'cutover'), acceptedAt: this.#clock.now() };
    if (this.#end !== undefined) this.#reportToCutover(this.#end);
  }

  progress(phase: Progress['phase'], job: JobStats | undefined): void {
    this.#current?.progress({
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

  /** Reported together with whatever is reported next. */
  decided(event: string, detail: Record<string, unknown>): void {
    this.#current?.decided(event, detail);
  }

  approaching(approach: Approach & { guest?: GuestReachability }): void {
    this.#precopyAnswered = true;
    this.#write(this.#precopy, { result: { stage: 'precopy', precopy: 'approaching', ...approach } });
  }

  /** Reported with the cutover's outcome where the pre-copy request had its outcome before. */
  held(hold: Hold & { guest?: GuestReachability }): void {
    if (this.#precopyAnswered) {
      this.#hold = hold;
      return;
    }
    this.#precopyAnswered = true;
    this.#write(this.#precopy, { result: { stage: 'precopy', precopy: 'held', ...hold } });
  }

  end(end: End): void {
    this.#end = end;
    if (!this.#precopyAnswered) this.#write(this.#precopy, this.#precopyOutcome(end));
    this.#reportToCutover(end);
  }

  /** Resolves when every outcome is written or given up. */
  async allWritten(): Promise<void> {
    await Promise.all(this.#written);
  }

  /** The request that is open now, if any. */
  get #current(): Reporter | undefined {
    return this.#cutover?.reporter ?? (this.#precopyAnswered ? undefined : this.#precopy);
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

  #reportToCutover(end: End): void {
    if (this.#cutover === undefined) return;
    const { reporter, acceptedAt } = this.#cutover;
    if (end.kind === 'failed') {
      this.#write(reporter, end);
      return;
    }
    const { downtimeMs, commitMs, bytesTransferred, finishedAt, pausedAt, activeMs, postCopy, blackout } = end;
    // A guest that converged before the cutover was requested has switched without it.
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
    this.#written.push(
      written.catch((error) => this.#log.warn(`an outcome could not be reported: ${messageOf(error)}`)),
    );
  }

  #reporter(requestId: string, stage: 'precopy' | 'cutover'): Reporter {
    const { migrationId, role } = this.#task;
    return new Reporter(this.#mailbox, this.#clock, { requestId, migrationId, stage, role });
  }
}
