import { describe, expect, it } from 'vitest';
import type { MigrationView } from '../../../../contract/api.ts';
import type { Forecast, Observation } from '../../../../contract/forecast.ts';
import { calibrationOf, type Miss, missOf } from '../../../../lambdas/migrations/forecast-calibration.ts';

const range = (expected: number, low: number, high: number) => ({ expected, low, high });
const forecast: Forecast = {
  totalMs: range(8_000, 7_000, 10_000),
  blackoutMs: range(100, 50, 200),
  bytes: range(1, 1, 1),
  convergence: 'likely',
  plan: { method: 'plain', postCopyAllowed: true, connections: 1 },
  why: 'a test',
};
const seen = (blackoutMs: number): Observation => ({
  observed: true,
  address: '10.0.0.1',
  addressFrom: 'request',
  blackoutMs,
  intervalMs: 10,
  elsewhereMs: 10,
  sent: 9,
  answered: 8,
  announcedAgain: false,
});
const unseen: Observation = { observed: false, why: 'no address' };
const result = (more: Partial<NonNullable<MigrationView['result']>>) => ({
  totalMs: 12_000,
  activeMs: 10_000,
  ...more,
});

describe('a migration', () => {
  it.each([
    [
      'slower than forecast, and just within the range',
      result({ blackout: { source: seen(120), destination: seen(150) } }),
      {
        method: 'plain',
        time: { forecast: forecast.totalMs, outcome: 10_000, error: 0.2, within: true },
        blackout: { forecast: forecast.blackoutMs, outcome: 150, errorMs: 50, within: true },
      },
    ],
    [
      'faster than forecast, with a shorter blackout',
      result({ activeMs: 6_400, blackout: { source: seen(30), destination: unseen } }),
      {
        method: 'plain',
        time: { forecast: forecast.totalMs, outcome: 6_400, error: -0.25, within: false },
        blackout: { forecast: forecast.blackoutMs, outcome: 30, errorMs: -70, within: false },
      },
    ],
    [
      'whose blackout nobody saw',
      result({ blackout: { source: unseen, destination: unseen } }),
      { method: 'plain', time: { forecast: forecast.totalMs, outcome: 10_000, error: 0.2, within: true } },
    ],
    [
      'that fell back on post-copy',
      result({ postCopy: true }),
      { method: 'post-copy', time: { forecast: forecast.totalMs, outcome: 10_000, error: 0.2, within: true } },
    ],
    ['that switched before it was told to', { totalMs: 12_000, precopy: 'completed' as const }, undefined],
  ])('%s', (_, outcome, miss) => {
    expect(missOf({ forecast, result: outcome })).toEqual(miss);
  });

  it('without a forecast, or without an outcome, is held against nothing', () => {
    expect(missOf({ forecast: undefined, result: result({}) })).toBeUndefined();
    expect(missOf({ forecast, result: undefined })).toBeUndefined();
  });
});

describe('the calibration', () => {
  const known = { forecast: forecast.totalMs, outcome: 1 };
  const miss = (
    method: string,
    error: number,
    within: boolean,
    blackout?: { errorMs: number; within: boolean },
  ): Miss => ({
    method,
    time: { ...known, error, within },
    ...(blackout && { blackout: { ...known, ...blackout } }),
  });

  it('of nothing is empty', () => {
    expect(calibrationOf([])).toEqual({ migrations: 0, byMethod: {} });
  });

  it('is the median and the 90th percentile of errors without their signs, and the share within', () => {
    const misses = [
      miss('plain', 0.1, true, { errorMs: -40, within: true }),
      miss('plain', -0.2, true),
      miss('post-copy', 0.3, false, { errorMs: 60, within: false }),
    ];
    const { time, blackout, migrations, byMethod } = calibrationOf(misses);
    expect(migrations).toBe(3);
    expect(time?.observed).toBe(3);
    expect(time?.median).toBeCloseTo(0.2);
    expect(time?.p90).toBeCloseTo(0.28);
    expect(time?.within).toBeCloseTo(2 / 3);
    expect(blackout).toEqual({ observed: 2, within: 0.5, medianMs: 50, p90Ms: expect.closeTo(58) });
    expect(byMethod.plain?.time?.median).toBeCloseTo(0.15);
    expect(byMethod.plain?.blackout).toEqual({ observed: 1, within: 1, medianMs: 40, p90Ms: 40 });
    expect(byMethod['post-copy']?.migrations).toBe(1);
  });
});
