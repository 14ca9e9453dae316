import { describe, expect, it } from 'vitest';
import { forecastErrors, type Held, heldAgainst } from '../../../../commands/bench/forecast-errors.ts';
import type { MigrationView } from '../../../../contract/api.ts';

type Result = NonNullable<MigrationView['result']>;

const range = (low: number, expected: number, high: number) => ({ low, expected, high });
const held = (total: Held['total'], blackout = 100): Held => ({
  total,
  blackout: { forecast: range(50, 100, 150), outcome: blackout, from: 'observed' },
});

describe('the error of forecasts', () => {
  it('is a part of the outcome, whichever way it errs', () => {
    const errors = forecastErrors([
      held({ forecast: range(80, 90, 110), outcome: 100 }),
      held({ forecast: range(80, 120, 130), outcome: 100 }, 180),
      held({ forecast: range(150, 150, 200), outcome: 100 }, 110),
    ]);
    expect(errors.totalError.median).toBeCloseTo(0.2);
    expect(errors.totalError.p90).toBeCloseTo(0.44);
    expect(errors.blackoutErrorMs.median).toBe(10);
    expect(errors.withinRange.total).toBeCloseTo(2 / 3);
    expect(errors.withinRange.blackout).toBeCloseTo(2 / 3);
    expect(errors.targets).toEqual({ medianTotalErrorAtMost15Percent: false, nineInTenTotalsWithinRange: false });
  });

  it('reaches the targets at their edges', () => {
    const exact = Array.from({ length: 9 }, () => held({ forecast: range(100, 115, 120), outcome: 100 }));
    const one = held({ forecast: range(101, 110, 120), outcome: 100 });
    expect(forecastErrors([...exact, one]).targets).toEqual({
      medianTotalErrorAtMost15Percent: true,
      nineInTenTotalsWithinRange: true,
    });
  });
});

describe('a record', () => {
  const forecast = {
    totalMs: range(1, 2, 3),
    blackoutMs: range(4, 5, 6),
    bytes: range(0, 0, 0),
    convergence: 'likely' as const,
    plan: { method: 'plain' as const, postCopyAllowed: false, connections: 1 },
    why: '',
  };
  const seen = (blackoutMs: number) => ({
    observed: true as const,
    address: '10.0.0.9',
    addressFrom: 'request' as const,
    blackoutMs,
    intervalMs: 10,
    elsewhereMs: 12,
    sent: 9,
    answered: 9,
    announcedAgain: false,
  });
  const unseen = { observed: false as const, why: 'no address is known' };
  const result = { totalMs: 9_000, workedMs: 2_000, downtimeMs: 70 };

  it.each<[string, Result['blackout'], object]>([
    ['the longer one both hosts saw', { source: seen(80), destination: seen(120) }, { outcome: 120, from: 'observed' }],
    ['the one that one host saw', { source: seen(80), destination: unseen }, { outcome: 80, from: 'observed' }],
    ["QEMU's when nobody saw any", { source: unseen }, { outcome: 70, from: 'qemu' }],
    ["QEMU's when nobody looked", undefined, { outcome: 70, from: 'qemu' }],
  ])('gives as blackout %s', (_, blackout, expected) => {
    const given = { ...result, ...(blackout !== undefined && { blackout }) };
    expect(heldAgainst({ forecast, result: given })?.blackout).toMatchObject(expected);
  });

  it('without a forecast or an outcome is not counted', () => {
    expect(heldAgainst({ forecast: undefined, result })).toBeUndefined();
    expect(heldAgainst({ forecast, result: { totalMs: 9_000 } })).toBeUndefined();
    expect(heldAgainst({ forecast, result })?.total).toEqual({ forecast: forecast.totalMs, outcome: 2_000 });
  });
});
