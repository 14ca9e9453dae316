import type { Clock } from '../../common/clock.ts';

/** Sleeps that can be ended early, all of them at once. */
export class InterruptibleSleep {
  readonly #clock: Clock;
  readonly #sleepers = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  for(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancelTimer();
        this.#sleepers.delete(wake);
        resolve();
      };
      const cancelTimer = this.#clock.timer(ms, wake);
      this.#sleepers.add(wake);
    });
  }

  interrupt(): void {
    for (const wake of this.#sleepers) wake();
  }
}
