import { describe, expect, it } from 'vitest';
import { firstThrottle, sleepMs, writesLeft } from '../../../../agent/convergence/auto-converge.ts';
import { MIB } from '../../../../common/units.ts';

it.each([
  [0, 0.5, 1],
  [40, 0.5, 1],
  [50, 0.5, 1],
  [75, 0.5, 0.5],
  [50, 1, 0.5],
  [97, 0.05, 0.3],
  [99, 0.02, 0.1],
])('a throttle of %i %% on a guest that uses %f of its CPU leaves %f of its writes', (percent, cpuUse, expected) => {
  expect(writesLeft(percent, cpuUse)).toBeCloseTo(expected);
});

describe('the first throttle', () => {
  it.each([
    // dirtied and carried a second in MiB, CPU use -> percent
    [150, 100, 0.1, 97],
    [150, 100, 0.5, 87],
    [150, 100, 1, 73],
    [300, 100, 0.1, 99],
    [300, 100, 1, 87],
    [101, 100, 1, 60],
    [10, 100, 1, 1],
  ])('for %i against %i MiB/s at %f of the CPU is %i %%', (dirty, bandwidth, cpuUse, expected) => {
    expect(firstThrottle(dirty * MIB, bandwidth * MIB, cpuUse)).toBe(expected);
  });

  it('brings the writes of whoever needs one well below the bandwidth, unless QEMU has none so strong', () => {
    for (const ratio of [1, 1.2, 1.5, 2, 3])
      for (const cpuUse of [0.05, 0.2, 0.6, 1]) {
        const percent = firstThrottle(ratio, 1, cpuUse);
        expect([ratio, cpuUse, percent === 99 || ratio * writesLeft(percent, cpuUse) < 0.5]).toEqual([
          ratio,
          cpuUse,
          true,
        ]);
      }
  });
});

it.each([
  [50, 10],
  [90, 90],
  [99, 990],
])('at %i %% a vCPU sleeps %i ms at a time', (percent, expected) => {
  expect(sleepMs(percent)).toBeCloseTo(expected);
});
