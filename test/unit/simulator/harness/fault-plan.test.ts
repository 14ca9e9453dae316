import { describe, expect, it } from 'vitest';
import { pseudoRandom } from '../../../../common/pseudo-random.ts';
import { ALL_KINDS, catalogOf, FAULT_KINDS } from '../../../../simulator/harness/fault-catalog.ts';
import { type Fault, planFaults, Schedule } from '../../../../simulator/harness/fault-plan.ts';

const fault = (nth: number): Fault => ({ kind: 'aws-error', point: 'dispatch', nth, after: false, choice: 0 });

describe('a fault plan', () => {
  const plan = (seed: number) => planFaults(pseudoRandom(seed), catalogOf(ALL_KINDS), 8);

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

  it('injects a fault at the n-th time, before or after, and not again', () => {
    const second = fault(2);
    const schedule = new Schedule([second]);
    expect(schedule.next('dispatch', true)).toEqual([]);
    const due = [1, 2, 3].map(() => schedule.next('dispatch', false));
    expect(due).toEqual([[], [second], []]);
  });
});
