import { expect, it } from 'vitest';
import { summarize } from '../../../bench/statistics.ts';
import { median, quantile } from '../../../common/statistics.ts';

it.each([
  [[7], { runs: 1, median: 7, p25: 7, p75: 7, min: 7, max: 7 }],
  [[3, 1, 2], { runs: 3, median: 2, p25: 1.5, p75: 2.5, min: 1, max: 3 }],
  [[10, 2, 9, 1], { runs: 4, median: 5.5, p25: 1.75, p75: 9.25, min: 1, max: 10 }],
  [[5, 4, 3, 2, 1], { runs: 5, median: 3, p25: 2, p75: 4, min: 1, max: 5 }],
  // Numbers, not their spelling, are in order.
  [[100, 20, 3], { runs: 3, median: 20, p25: 11.5, p75: 60, min: 3, max: 100 }],
])('summarizes %j', (values, summary) => {
  const given = [...values];
  expect(summarize(values)).toEqual(summary);
  expect(values).toEqual(given);
});

it('has nothing to say of no runs', () => {
  expect(() => summarize([])).toThrow(RangeError);
});

it.each([
  [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 0.9, 10],
  [[30, 10, 20], 0.9, 28],
  [[7], 0.9, 7],
])('finds of %j at %d: %d', (values, q, expected) => {
  expect(quantile(values, q)).toBeCloseTo(expected);
});

it('finds the middle, and none of nothing', () => {
  expect(median([9, 1, 3])).toBe(3);
  expect(median([])).toBeUndefined();
});
