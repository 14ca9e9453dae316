import type { Clock } from '../../common/clock.ts';

/** Measures the time of a piece of work that can be paused. Runs from its creation. */
export class Stopwatch {
  readonly #clock: Pick<Clock, 'now'>;
  #elapsedMs = 0;
  #runsSince: number | undefined;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
    this.#runsSince = clock.now();
  }

  /** In ms, pauses not counted. */
  get elapsedMs(): number {
    return this.#elapsedMs + (this.#runsSince === undefined ? 0 : this.#clock.now() - this.#runsSince);
  }

  pause(): void {
    this.#elapsedMs = this.elapsedMs;
    this.#runsSince = undefined;
  }

  resume(): void {
    this.#runsSince ??= this.#clock.now();
  }
}
