import type { Clock } from '../../common/clock.ts';

/** A sleep that anybody can end early. */
export class Pace {
  readonly #clock: Clock;
  readonly #sleepers = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  sleep(ms: number): Promise<void> {
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

  wake(): void {
    for (const wake of this.#sleepers) wake();
  }
}
