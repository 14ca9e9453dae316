import type { Clock } from '../common/clock.ts';

/** Asks every `everyMs` until the condition holds; false when it does not within `limitMs`. */
export async function eventually(
  { clock }: { clock: Clock },
  { everyMs, limitMs }: { everyMs: number; limitMs: number },
  condition: () => Promise<boolean>,
): Promise<boolean> {
  const deadline = clock.now() + limitMs;
  while (!(await condition())) {
    if (clock.now() >= deadline) return false;
    await clock.sleep(everyMs);
  }
  return true;
}
