import { describe, expect, it } from 'vitest';
import { measureBlackout } from '../../../../agent/observe/blackout.ts';

/** Answers every 10 ms from `from` to `to`, both included. */
const every10 = (from: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - from) / 10) + 1 }, (_, index) => from + index * 10);
const without = (answers: number[], ...lost: [number, number][]): number[] =>
  answers.filter((at) => !lost.some(([begin, end]) => at > begin && at < end));

describe('what is made of a probe', () => {
  const all = every10(0, 2_000);
  /** Paused from 1,000 to 1,080, as the handover knows it. */
  const switched = { from: 1_000, to: 1_080 };

  it.each([
    ['a gap over the whole switch', without(all, [990, 1_090]), { blackoutMs: 90, elsewhereMs: 0 }],
    ['a gap that goes on after the switch', without(all, [990, 1_400]), { blackoutMs: 400, elsewhereMs: 0 }],
    ['no gap at all', all, { blackoutMs: 0, elsewhereMs: 0 }],
    ['a longer gap before', without(all, [300, 800], [990, 1_090]), { blackoutMs: 90, elsewhereMs: 490 }],
    ['a longer gap after', without(all, [990, 1_090], [1_200, 1_700]), { blackoutMs: 90, elsewhereMs: 490 }],
    ['two gaps in the switch', without(all, [980, 1_020], [1_020, 1_100]), { blackoutMs: 70, elsewhereMs: 0 }],
    [
      'slower answers than questions',
      all.filter((at) => at % 40 === 0 && !(at > 960 && at < 1_120)),
      {
        intervalMs: 40,
        blackoutMs: 120,
      },
    ],
    ['only two answers, around the switch', [700, 1_200], { blackoutMs: 490, intervalMs: 10, answered: 2 }],
  ])('%s', (_, answers, seen) => {
    expect(measureBlackout({ answers, sent: 201 }, switched)).toMatchObject({ observed: true, sent: 201, ...seen });
  });

  it.each([
    ['none at all', [], {}, /does not answer/],
    ['none, and a reason', [], { trouble: 'Network is unreachable' }, /^Network is unreachable$/],
    ['none, for want of time', [], { sent: 0 }, /no time to ask/],
    ['only from within the switch on', every10(1_050, 2_000), {}, /only when the guest was being switched/],
    ['only after the switch', every10(1_200, 2_000), {}, /only when the guest was being switched/],
    ['none after the switch', every10(0, 980), {}, /20 ms before the switch, and none after/],
    ['none after the switch, but one within', every10(0, 1_040), {}, /no answer came after the switch/],
  ])('tells nothing when the answers are %s', (_, answers, more, why) => {
    expect(measureBlackout({ answers, sent: 100, ...more }, switched)).toEqual({
      observed: false,
      why: expect.stringMatching(why),
    });
  });
});
