import type { Clock } from '../../common/clock.ts';

/**
 * SIMULATED: which ends reach each other. Ends are host ids, and other names that a simulation uses. A link that is cut
 * loses nothing: as with TCP, what was sent arrives when the link is back, unless an end has given up by then.
 */
export class SimulatedNetwork {
  readonly #clock: Clock;
  readonly #cuts = new Map<string, Cut>();
  readonly #watchers = new Map<string, Set<(up: boolean) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isUp(a: string, b: string): boolean {
    return this.#cuts.size === 0 || !this.#cuts.has(linkOf(a, b));
  }

  cut(a: string, b: string): void {
    const link = linkOf(a, b);
    if (this.#cuts.has(link)) return;
    this.#cuts.set(link, { ...Promise.withResolvers<void>() });
    this.#notify(link, false);
  }

  heal(a: string, b: string): void {
    const link = linkOf(a, b);
    const cut = this.#cuts.get(link);
    if (cut === undefined) return;
    this.#cuts.delete(link);
    cut.resolve();
    this.#notify(link, true);
  }

  /** Resolves as soon as the link is not cut. */
  async whenUp(a: string, b: string): Promise<void> {
    while (this.#cuts.size > 0) {
      const cut = this.#cuts.get(linkOf(a, b));
      if (cut === undefined) return;
      await cut.promise;
    }
  }

  /** Calls `gone` each time the link has been cut for `ms()` without a break. Returns what ends that. */
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
    const link = linkOf(a, b);
    const watchers = this.#watchers.get(link) ?? new Set();
    this.#watchers.set(link, watchers.add(listener));
    return () => void watchers.delete(listener);
  }

  #notify(link: string, up: boolean): void {
    for (const watcher of [...(this.#watchers.get(link) ?? [])]) watcher(up);
  }
}

interface Cut {
  promise: Promise<void>;
  resolve(): void;
}

const linkOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
