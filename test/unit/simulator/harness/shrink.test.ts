import { describe, expect, it } from 'vitest';
import type { Fault } from '../../../../simulator/harness/fault-plan.ts';
import { shrink } from '../../../../simulator/harness/shrink.ts';

const fault = (nth: number): Fault => ({ kind: 'aws-error', point: 'dispatch', nth, after: false, choice: 0 });
const nths = (plan: readonly Fault[]) => plan.map(({ nth }) => nth);

describe('shrink', () => {
  it.each([
    ['the one that matters', [5]],
    ['two that matter together', [2, 7]],
    ['the first and the last', [1, 9]],
    ['all, if all are needed', [1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ])('leaves %s', async (_, needed) => {
    const plan = [1, 2, 3, 4, 5, 6, 7, 8, 9].map(fault);
    const fails = async (tried: readonly Fault[]) => needed.every((nth) => nths(tried).includes(nth));
    expect(nths(await shrink(plan, fails))).toEqual(needed);
  });

  it('leaves none of a plan that fails without faults', async () => {
    expect(await shrink([1, 2, 3].map(fault), async () => true)).toEqual([]);
  });
});
