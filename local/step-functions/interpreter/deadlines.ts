import type { Clock } from '../../../contract/clock.ts';
import { TaskTimeout } from '../failures.ts';
import { sleepUntil } from '../waiting.ts';

/** A task attempt's TimeoutSeconds and HeartbeatSeconds. When one runs out, the attempt's controller aborts with the error. */
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

  /** Ends when the controller aborts, by itself or by others. Heartbeats do not disturb the timer; it looks when it rings. */
  async enforce(controller: AbortController): Promise<void> {
    while (!controller.signal.aborted) {
      const heartbeatAt = this.#lastHeartbeat + this.#heartbeatMs;
      const at = Math.min(this.#timeoutAt, heartbeatAt);
      if (at === Number.POSITIVE_INFINITY) return;
      if (this.#clock.now() < at) await sleepUntil(this.#clock, at, controller.signal);
      else if (at === this.#timeoutAt) controller.abort(new TaskTimeout('States.Timeout', undefined));
      else controller.abort(new TaskTimeout('States.HeartbeatTimeout', undefined));
    }
  }
}
