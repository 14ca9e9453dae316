import type { Clock } from '../../../common/clock.ts';
import { TaskTimeout } from '../common/failures.ts';
import { LONGEST_TIMER_MS } from '../common/waiting.ts';

/** A task attempt's TimeoutSeconds and HeartbeatSeconds. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #timeoutAt: number;
  readonly #heartbeatMs: number;
  #lastHeartbeat: number;

  constructor(clock: Clock, timeoutSeconds = Number.POSITIVE_INFINITY, heartbeatSeconds = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#timeoutAt = clock.now() + timeoutSeconds * 1_000;
    this.#heartbeatMs = heartbeatSeconds * 1_000;
    this.#lastHeartbeat = clock.now();
  }

  heartbeat(): void {
    this.#lastHeartbeat = this.#clock.now();
  }

  /** Calls `fail` when one runs out, unless what it returns is called before. Heartbeats do not reset the timer: it checks for them when it fires. */
  enforce(fail: (error: TaskTimeout) => void): () => void {
    let cancelTimer = () => {};
    const look = () => {
      const at = Math.min(this.#timeoutAt, this.#lastHeartbeat + this.#heartbeatMs);
      const left = at - this.#clock.now();
      if (left > 0) {
        if (left < Number.POSITIVE_INFINITY) cancelTimer = this.#clock.timer(Math.min(left, LONGEST_TIMER_MS), look);
        return;
      }
      fail(new TaskTimeout(at === this.#timeoutAt ? 'States.Timeout' : 'States.HeartbeatTimeout', undefined));
    };
    look();
    return () => cancelTimer();
  }
}
