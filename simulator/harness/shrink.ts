import type { Fault } from './fault-plan.ts';

/**
 * Leaves faults out of a plan for as long as it still fails: halves first, then one by one. What is left is the fewest faults of
 * that plan from which none can be left out.
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
