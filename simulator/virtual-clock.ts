import type { Clock } from '../common/clock.ts';

interface Timer {
  readonly at: number;
  /** Timers of the same moment fire in the order in which they were set. */
  readonly order: number;
  fire(): void;
  cancelled: boolean;
}

/**
 * A clock that stands still until its owner moves it. Between two timers all code runs that does not wait for time:
 * the microtasks are drained, so code under this clock must wait through it only.
 */
export class VirtualClock implements Clock {
  #now: number;
  readonly #needsEventLoop: () => boolean;
  #order = 0;
  #live = 0;
  readonly #heap: Timer[] = [];
  /** The sleepers that a signal wakes. Many wait for the same signal, and one listener for each would be slow. */
  readonly #sleepers = new WeakMap<AbortSignal, Set<() => void>>();

  /** `needsEventLoop`: whether work may be under way that needs turns of the event loop, such as reading a stream. */
  constructor(start = Date.parse('2026-01-01T00:00:00.000Z'), needsEventLoop = () => true) {
    this.#now = start;
    this.#needsEventLoop = needsEventLoop;
  }

  now(): number {
    return this.#now;
  }

  /** Timers set and neither fired nor cancelled. */
  get pending(): number {
    return this.#live;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleepers = signal && this.#sleepersOf(signal);
      const wake = () => {
        cancel();
        sleepers?.delete(wake);
        resolve();
      };
      const cancel = this.timer(ms, wake);
      sleepers?.add(wake);
    });
  }

  timer(ms: number, fire: () => void): () => void {
    let over = false;
    const end = () => {
      over = true;
      this.#live -= 1;
    };
    const timer: Timer = {
      at: this.#now + Math.max(0, ms),
      order: this.#order++,
      fire: () => {
        end();
        fire();
      },
      cancelled: false,
    };
    this.#live += 1;
    push(this.#heap, timer);
    return () => {
      if (over) return;
      end();
      timer.cancelled = true;
    };
  }

  #sleepersOf(signal: AbortSignal): Set<() => void> {
    let sleepers = this.#sleepers.get(signal);
    if (sleepers === undefined) {
      const all = new Set<() => void>();
      const wake = () => {
        for (const wakeOne of all) wakeOne();
      };
      signal.addEventListener('abort', wake, { once: true });
      this.#sleepers.set(signal, all);
      sleepers = all;
    }
    return sleepers;
  }

  /** Lets everything happen that needs no time. Both ways drain the microtasks; a tick takes a fraction of what a turn takes. */
  settle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#needsEventLoop()) setImmediate(resolve);
      else process.nextTick(resolve);
    });
  }

  /** Moves to `at` (ms since the epoch), firing every timer on the way in order. */
  async advanceTo(at: number): Promise<void> {
    await this.#fireUntil(at);
    this.#now = Math.max(this.#now, at);
  }

  async advance(ms: number): Promise<void> {
    await this.advanceTo(this.#now + ms);
  }

  /**
   * Fires timers, moving to each one's moment, until none is left, the next lies beyond `limit` (ms since the epoch), or
   * `enough` holds, which is asked after each.
   */
  async runUntilIdle(limit = Number.POSITIVE_INFINITY, enough: () => boolean = () => false): Promise<void> {
    await this.#fireUntil(limit, enough);
  }

  async #fireUntil(limit: number, enough: () => boolean = () => false): Promise<void> {
    await this.settle();
    while (!enough()) {
      const timer = this.#heap[0];
      if (timer === undefined || (!timer.cancelled && timer.at > limit)) return;
      pop(this.#heap);
      if (timer.cancelled) continue;
      this.#now = Math.max(this.#now, timer.at);
      timer.fire();
      await this.settle();
    }
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Timer[], timer: Timer): void {
  let index = heap.push(timer) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (!before(timer, heap[parent]!)) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = timer;
}

function pop(heap: Timer[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
    if (!before(heap[child]!, last)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
}
