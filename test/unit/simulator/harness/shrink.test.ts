import { describe, expect, it } from 'vitest';
import { pseudoRandom } from '../../../../common/pseudo-random.ts';
import {
  ALL_KINDS,
  FAULT_KINDS,
  type Fault,
  menuOf,
  planFaults,
  Schedule,
} from '../../../../simulator/harness/fault-plan.ts';
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

describe('a plan', () => {
  const plan = (seed: number) => planFaults(pseudoRandom(seed), menuOf(ALL_KINDS), 8);

  it('is the same for the same seed, and another for another', () => {
    expect(plan(7)).toEqual(plan(7));
    expect(plan(7)).not.toEqual(plan(8));
  });

  it('draws every kind', () => {
    const drawn = new Set(
      Array.from({ length: 200 }, (_, seed) => plan(seed)).flatMap((each) => each.map((f) => f.kind)),
    );
    expect([...drawn].toSorted()).toEqual(Object.keys(FAULT_KINDS).toSorted());
  });

  it('strikes at the n-th time, before or after, and then no more', () => {
    const second = fault(2);
    const schedule = new Schedule([second]);
    expect(schedule.next('dispatch', true)).toEqual([]);
    const struck = [1, 2, 3].map(() => schedule.next('dispatch', false));
    expect(struck).toEqual([[], [second], []]);
  });
});
