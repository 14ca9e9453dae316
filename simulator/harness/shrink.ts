import type { Fault } from './fault-plan.ts';

/**
 * Removes faults from a plan while it still fails: halves first, then single faults. Returns a plan that does not fail any more
 * when any one of its faults is removed.
 */
export async function shrink(
  plan: readonly Fault[],
  fails: (plan: readonly Fault[]) => Promise<boolean>,
): Promise<Fault[]> {
  let kept = [...plan];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const without = kept.toSpliced(from, size);
      if (without.length < kept.length && (await fails(without))) kept = without;
      else from += size;
    }
  }
  return kept;
}
