import { describe, expect, it } from 'vitest';
import { firstLimitMs, mostLimitMs, nextLimitMs } from '../../../../agent/convergence/downtime-limit.ts';

describe('the downtime limit', () => {
  it.each([
    // budget, first, most
    [300, 20, 180],
    [1_000, 20, 880],
    [100, 20, 50],
    [30, 15, 15],
    [1, 1, 1],
  ])('for a budget of %i ms begins at %i and ends at %i ms', (budget, first, most) => {
    expect([firstLimitMs(budget), mostLimitMs(budget)]).toEqual([first, most]);
  });

  it.each([
    ['passes shrink well', 20, 0.5, 0, 20],
    ['a pass shrank slowly', 20, 0.85, 0, 40],
    ['passes grow', 40, 1.6, 0, 80],
    ['the budget is near', 160, 0.85, 0, 180],
    ['the budget is reached', 180, 1, 0, 180],
    ['the guest hardly feels its throttle', 20, 0.5, 49, 20],
    ['the guest is slowed, so that waiting costs it more', 20, 0.5, 50, 180],
    ['it is beyond the budget, as the policy allowed', 4_000, 1, 99, 4_000],
  ])('when %s: from %i ms, shrink %f, throttle %i %%, to %i ms', (_, limit, shrink, throttle, expected) => {
    expect(nextLimitMs(limit, shrink, throttle, 300)).toBe(expected);
  });
});
