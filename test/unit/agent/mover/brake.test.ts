import { describe, expect, it } from 'vitest';
import type { JobStats } from '../../../../agent/hypervisor.ts';
import {
  brakingPoint,
  guaranteedHoldSeconds,
  hasSettled,
  mustBrake,
  nextLookMs,
  shrinkRate,
} from '../../../../agent/mover/brake.ts';
import { MIB } from '../../../../common/units.ts';

function job(given: Partial<Record<'total' | 'remaining' | 'rate' | 'elapsedMs' | 'iteration', number>>): JobStats {
  const { total = 4_096, remaining = total, rate = 1_000, elapsedMs = 1_000, iteration = 1 } = given;
  return {
    operation: 'migration-out',
    elapsedMs,
    bytesTotal: total * MIB,
    bytesProcessed: (total - remaining) * MIB,
    bytesRemaining: remaining * MIB,
    bytesPerSecond: rate * MIB,
    dirtyBytesPerSecond: 0,
    iteration,
  };
}

describe('where to brake', () => {
  it.each([
    // total, rate -> rest in MiB
    [4_096, 0, 64],
    [4_096, 1_000, 314],
    [65_536, 10_000, 2_564],
    [512, 1_000, 128],
    [256, 10, 64],
    [64, 100, 16],
  ])('%i MiB at %i MiB/s: %i MiB', (total, rate, expected) => {
    expect(brakingPoint(total * MIB, rate * MIB)).toBe(expected * MIB);
  });

  it('gives a minute wherever the memory allows', () => {
    for (const total of [256, 512, 4_096, 1_000_000]) {
      expect(guaranteedHoldSeconds(brakingPoint(total * MIB, 0))).toBeGreaterThanOrEqual(60);
    }
  });

  it.each([
    [315, false],
    [314, true],
    [0, true],
  ])('%i MiB left of 4 GiB at 1,000 MiB/s: brake %s', (remaining, expected) => {
    expect(mustBrake(job({ remaining }), 1_000 * MIB)).toBe(expected);
  });
});

describe('the speed at which the rest shrinks', () => {
  it('is what was seen when zero pages make it faster than the link', () => {
    expect(shrinkRate(job({ remaining: 1_000, elapsedMs: 1_100 }), job({ remaining: 1_500, elapsedMs: 1_000 }))).toBe(
      5_000 * MIB,
    );
  });

  it.each([
    ['there was no look before', undefined],
    ['another pass has begun', job({ remaining: 1, iteration: 0, elapsedMs: 900 })],
    ['no time has passed', job({ remaining: 4_000, elapsedMs: 1_000 })],
    ['the rest has grown', job({ remaining: 100, elapsedMs: 900 })],
  ])("is QEMU's own figure when %s", (_, before) => {
    expect(shrinkRate(job({ remaining: 200 }), before)).toBe(1_000 * MIB);
  });
});

describe('when to look again', () => {
  it.each([
    ['far from the end: at the longest', job({ total: 400_000 }), 1_000, 500],
    ['when zero pages alone may have brought it to the braking point', job({ remaining: 714 }), 1_000, 98],
    ['close to it: at the shortest', job({ remaining: 320 }), 1_000, 20],
    ['past it', job({ remaining: 100 }), 1_000, 20],
    ['before anything moves: of so much memory, not all can pass at once', job({}), 0, 500],
  ])('%s', (_, stats, rate, expected) => {
    expect(nextLookMs(stats, rate * MIB)).toBe(expected);
  });

  it('never lets a steady copy run past the brake: 100 ms of it are always left', () => {
    for (const total of [256, 512, 4_096, 262_144]) {
      for (const rate of [10, 125, 1_250, 12_500]) {
        let remaining = total;
        for (;;) {
          const stats = job({ total, remaining, rate });
          if (mustBrake(stats, rate * MIB)) break;
          remaining -= (rate * nextLookMs(stats, rate * MIB)) / 1_000;
        }
        // A link that copies all of a guest in a moment cannot be caught by looking; everything slower is.
        if (total / rate > 0.4)
          expect([total, rate, remaining > rate * 0.1 || remaining > 60]).toEqual([total, rate, true]);
      }
    }
  });
});

it.each([
  ['1 MiB/s drains', 100, 99.8, 1, true],
  ['zero pages pass', 100, 60, 1, false],
  ['another pass has begun', 1, 50, 2, true],
  ['nothing moves', 50, 50, 1, true],
])('the brake has settled when %s: %s', (_, before, now, iteration, expected) => {
  const looks = [
    job({ remaining: before, elapsedMs: 1_000 }),
    job({ remaining: now, elapsedMs: 1_200, iteration }),
  ] as const;
  expect(hasSettled(looks[1], looks[0])).toBe(expected);
});
