import type { Clock } from '../../common/clock.ts';

/**
 * SIMULATED: which ends reach each other. Ends are host ids, and whatever else a simulation gives a name. A way that is cut
 * loses nothing: what is sent goes through when it is back, as TCP does it, unless an end has given up by then.
 */
export class SimulatedNetwork {
  readonly #clock: Clock;
  readonly #cuts = new Map<string, Cut>();
  readonly #watchers = new Map<string, Set<(up: boolean) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isUp(a: string, b: string): boolean {
    return this.#cuts.size === 0 || !this.#cuts.has(wayOf(a, b));
  }

  cut(a: string, b: string): void {
    const way = wayOf(a, b);
    if (this.#cuts.has(way)) return;
    this.#cuts.set(way, { ...Promise.withResolvers<void>() });
    this.#tell(way, false);
  }

  heal(a: string, b: string): void {
    const way = wayOf(a, b);
    const cut = this.#cuts.get(way);
    if (cut === undefined) return;
    this.#cuts.delete(way);
    cut.resolve();
    this.#tell(way, true);
  }

  /** Resolves as soon as the way is not cut. */
  async whenUp(a: string, b: string): Promise<void> {
    while (this.#cuts.size > 0) {
      const cut = this.#cuts.get(wayOf(a, b));
      if (cut === undefined) return;
      await cut.promise;
    }
  }

  /** Calls `gone` each time the way has been cut for `ms()` without a break. Returns what ends that. */
  onSilence(a: string, b: string, ms: () => number, gone: () => void): () => void {
    let end = () => {};
    const begin = () => {
      end = this.#clock.timer(ms(), gone);
    };
    if (!this.isUp(a, b)) begin();
    const forget = this.onChange(a, b, (up) => (up ? end() : begin()));
    return () => {
      forget();
      end();
    };
  }

  onChange(a: string, b: string, listener: (up: boolean) => void): () => void {
    const way = wayOf(a, b);
    const watchers = this.#watchers.get(way) ?? new Set();
    this.#watchers.set(way, watchers.add(listener));
    return () => void watchers.delete(listener);
  }

  #tell(way: string, up: boolean): void {
    for (const watcher of [...(this.#watchers.get(way) ?? [])]) watcher(up);
  }
}

interface Cut {
  promise: Promise<void>;
  resolve(): void;
}

const wayOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
