import type { Clock } from '../../../common/clock.ts';

interface Sleeper {
  /** By this clock, ms since the epoch. */
  until: number;
  wake(): void;
  timer?: NodeJS.Timeout;
}

/**
 * The machine's time, which can be put forward: what sleeps by it wakes as early. For an embedded AWS whose long waits (a quarter
 * of an hour for a host that may come back, the next sweep) need not be sat out; the hosts' own time, and QEMU's, cannot be moved.
 */
export class LeapingClock implements Clock {
  #aheadMs = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return Date.now() + this.#aheadMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper: Sleeper = {
        until: this.now() + ms,
        wake: () => {
          clearTimeout(sleeper.timer);
          signal?.removeEventListener('abort', sleeper.wake);
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      signal?.addEventListener('abort', sleeper.wake, { once: true });
      this.#sleepers.add(sleeper);
      this.#arm(sleeper);
    });
  }

  timer(ms: number, fire: () => void): () => void {
    const cancelled = new AbortController();
    void this.sleep(ms, cancelled.signal).then(() => {
      if (!cancelled.signal.aborted) fire();
    });
    return () => cancelled.abort();
  }

  /** Puts the time forward. Whoever should have woken on the way does so at once, in the order of their times. */
  leap(seconds: number): void {
    this.#aheadMs += seconds * 1_000;
    for (const sleeper of [...this.#sleepers].toSorted((a, b) => a.until - b.until)) this.#arm(sleeper);
  }

  #arm(sleeper: Sleeper): void {
    clearTimeout(sleeper.timer);
    sleeper.timer = setTimeout(sleeper.wake, Math.max(0, sleeper.until - this.now()));
  }
}
