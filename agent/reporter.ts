import type { Clock } from '../common/clock.ts';
import type { FailureCode } from '../contract/errors.ts';
import type { Progress } from '../contract/facts.ts';
import type { Decision } from '../contract/forecast.ts';
import type { Role, StageName } from '../contract/names.ts';
import { type Report, StageResult } from '../contract/reports.ts';
import { CONTRACT_VERSION } from '../contract/version.ts';
import type { Mailbox } from './mailbox.ts';

/** The request that a report answers. */
export interface RequestIdentity {
  requestId: string;
  migrationId: string;
  stage: StageName;
  role: Role;
}

export interface FailureReport {
  code: FailureCode;
  message: string;
  detail?: Record<string, unknown>;
}

export type Outcome = { result: StageResult } | { failure: FailureReport };

/** Progress is the heartbeat too. A shorter interval would cost writes and show nothing more. */
const PROGRESS_INTERVAL_MS = 2_000;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 15_000;

/**
 * Reports one request's progress and outcome to the control plane. Nothing waits for `progress`: reports are written one after the
 * other in the background, the newest replaces one that still waits, and the next makes up for a lost one. The outcome is written
 * last, and tried again until it is written.
 */
export class Reporter {
  readonly #mailbox: Mailbox;
  readonly #clock: Clock;
  readonly #identity: RequestIdentity;
  readonly #decisions: Decision[] = [];
  #sequence = 0;
  #waiting: Report | undefined;
  #writing: Promise<void> = Promise.resolve();
  #idle = true;
  #ended = false;
  #lastPhase: string | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(mailbox: Mailbox, clock: Clock, identity: RequestIdentity) {
    this.#mailbox = mailbox;
    this.#clock = clock;
    this.#identity = identity;
  }

  /** Reported with the next report, and with every later one of this request. */
  decided(event: string, detail: Record<string, unknown>): void {
    this.#decisions.push({ at: new Date(this.#clock.now()).toISOString(), event, detail });
  }

  /** At most one every 2 s, and one at each change of phase. */
  progress(progress: Progress, note?: string): void {
    const now = this.#clock.now();
    if (this.#ended || (progress.phase === this.#lastPhase && now - this.#lastAt < PROGRESS_INTERVAL_MS)) return;
    this.#lastPhase = progress.phase;
    this.#lastAt = now;
    this.#waiting = { ...this.#head(), kind: 'progress', progress, ...(note !== undefined && { note }) };
    if (this.#idle) this.#writing = this.#drain();
  }

  /** Writes the last report; gives up, by rejecting, only after `patienceMs` without AWS. */
  async end(outcome: Outcome, patienceMs: number): Promise<void> {
    this.#ended = true;
    this.#waiting = undefined;
    await this.#writing;
    const report: Report =
      'result' in outcome
        ? { ...this.#head(), kind: 'succeeded', result: StageResult.parse(outcome.result) }
        : { ...this.#head(), kind: 'failed', failure: outcome.failure };
    const deadline = this.#clock.now() + patienceMs;
    for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_MAX_MS)) {
      try {
        // `false` is as good as written: a final report, ours or an earlier one, is there and stands.
        await this.#mailbox.report(report);
        return;
      } catch (error) {
        if (this.#clock.now() + pause > deadline) throw error;
      }
      await this.#clock.sleep(pause);
    }
  }

  async #drain(): Promise<void> {
    this.#idle = false;
    while (this.#waiting !== undefined) {
      const report = this.#waiting;
      this.#waiting = undefined;
      await this.#mailbox.report(report).catch(() => {});
    }
    this.#idle = true;
  }

  #head(): Pick<Report, 'version' | keyof RequestIdentity | 'sequence' | 'at' | 'decisions'> {
    return {
      version: CONTRACT_VERSION,
      ...this.#identity,
      sequence: this.#sequence++,
      at: new Date(this.#clock.now()).toISOString(),
      decisions: [...this.#decisions],
    };
  }
}
