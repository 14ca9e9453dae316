import { describe, expect, it } from 'vitest';
import { type Case, evaluateTargets } from '../../../bench/targets.ts';

function moved(strategy: string, rate: number, totalMs: number, change: Partial<Case> = {}): Case {
  return {
    strategy,
    rate,
    run: 1,
    outcome: 'moved',
    totalMs,
    askedMs: totalMs,
    blackoutMs: 100,
    longestGapMs: 100,
    budgetMs: 300,
    mayExceed: false,
    budgetKept: true,
    requestsBefore: 90,
    requestsDuring: 90,
    bytes: 1,
    ...change,
  };
}

function stayed(strategy: string, rate: number, outcome: Case['outcome']): Case {
  const { totalMs: _, blackoutMs: __, budgetKept: ___, ...rest } = moved(strategy, rate, 120_000);
  return { ...rest, outcome };
}

const good = [
  moved('virsh', 0, 5_000),
  moved('virsh', 0.2, 6_000),
  moved('handoff', 0, 5_000),
  moved('handoff', 0.2, 5_900),
  moved('auto-converge', 1.5, 60_000),
  moved('handoff', 1.5, 15_000),
  moved('handoff-postcopy', 1.5, 9_000),
];

describe('the targets', () => {
  it('are reached by a run that reaches them', () => {
    const targets = evaluateTargets(good);
    expect(targets).toMatchObject({
      finishesAllAllowed: true,
      refused: 0,
      at1_5: { throttleRatioVsAutoConverge: 0.25, postCopyRatioVsAutoConverge: 0.15 },
      blackoutOverBudget: 0,
      met: { finishesAllAllowed: true, throttle: true, postCopy: true, blackout: true, easy: true },
    });
    expect(targets.easyRatioVsPlain).toBeCloseTo(10_900 / 11_000);
  });

  it.each<[string, Case, object]>([
    ['gives up', stayed('handoff', 3, 'gave up'), { finishesAllAllowed: false }],
    ['does not end', stayed('handoff-postcopy', 3, 'not in time'), { finishesAllAllowed: false }],
    ['is not allowed to', stayed('handoff', 3, 'refused'), { finishesAllAllowed: true, refused: 1 }],
    ['is of others', stayed('nova', 3, 'not in time'), { finishesAllAllowed: true }],
  ])('count a case that %s', (_, more, verdict) => {
    expect(evaluateTargets([...good, more])).toMatchObject(verdict);
  });

  it.each([
    ['handoff', false, 1],
    ['handoff-exceed', true, 0],
    ['virsh', false, 0],
  ])('count a long blackout of %s', (strategy, mayExceed, count) => {
    const { blackoutOverBudget, met } = evaluateTargets([
      ...good,
      moved(strategy, 3, 9_000, { mayExceed, budgetKept: false }),
    ]);
    expect(blackoutOverBudget).toBe(count);
    expect(met.blackout).toBe(count === 0);
  });

  it('take a run of others that did not end for the time it was given, and none of ours', () => {
    const others = good.map((each) =>
      each.strategy === 'auto-converge' ? stayed(each.strategy, 1.5, 'not in time') : each,
    );
    expect(evaluateTargets(others).at1_5.throttleRatioVsAutoConverge).toBeCloseTo(15 / 120);
    const ours = [...good, stayed('handoff', 1.5, 'gave up')];
    expect(evaluateTargets(ours).at1_5.throttleRatioVsAutoConverge).toBeNull();
  });

  it('are neither reached nor missed where nothing was measured', () => {
    expect(evaluateTargets([moved('virsh', 0, 5_000)])).toMatchObject({
      easyRatioVsPlain: null,
      met: { finishesAllAllowed: null, throttle: null, postCopy: null, blackout: null, easy: null },
    });
  });

  it('are missed by a slow run', () => {
    const slow = good.map((each) => (each.strategy.startsWith('handoff') ? { ...each, totalMs: 21_000 } : each));
    expect(evaluateTargets(slow).met).toMatchObject({ throttle: false, postCopy: false, easy: false });
  });
});
