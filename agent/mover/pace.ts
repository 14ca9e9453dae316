import type { Clock } from '../../contract/clock.ts';

/** A sleep that anybody can end early. */
export class Pace {
  readonly #clock: Clock;
  #sleeper = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async sleep(ms: number): Promise<void> {
    await this.#clock.sleep(ms, this.#sleeper.signal);
  }

  wake(): void {
    this.#sleeper.abort();
    this.#sleeper = new AbortController();
  }
}
