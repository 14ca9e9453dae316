/** The source of time, so that tests and simulations can control it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts (it never rejects: the caller checks its signal). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fire` after `ms` milliseconds, unless the function that it returns is called before. */
  timer(ms: number, fire: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const finish = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, ms);
      signal?.addEventListener('abort', finish, { once: true });
    }),
  timer: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

/** As `promise`, if it is settled within `ms`; otherwise `late` is called, and what it returns or throws is the outcome. */
export async function within<T, L>(clock: Clock, ms: number, promise: Promise<T>, late: () => L): Promise<T | L> {
  const { promise: time, resolve: timeIsUp } = Promise.withResolvers<typeof TIME_IS_UP>();
  const cancel = clock.timer(ms, () => timeIsUp(TIME_IS_UP));
  try {
    const first = await Promise.race([promise, time]);
    return first === TIME_IS_UP ? late() : first;
  } finally {
    cancel();
  }
}

const TIME_IS_UP = Symbol('time is up');
