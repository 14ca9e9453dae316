import { describe, expect, it } from 'vitest';
import { measureMove, type Recordings } from '../../../bench/move-measurement.ts';

/** An answer every `every` ms, but for the spans left out. */
function answers(from: number, until: number, every: number, ...silences: [from: number, until: number][]): number[] {
  const all = Array.from({ length: Math.floor((until - from) / every) }, (_, index) => from + index * every);
  return all.filter((at) => !silences.some(([begin, end]) => at > begin && at < end));
}

const event = (at: number, what: string, kind = 'lifecycle') => ({ at, kind, what });
const notes = (change: Partial<Recordings>): Recordings => ({
  pings: answers(0, 20_000, 10),
  answers: answers(0, 20_000, 10),
  source: [],
  destination: [],
  calm: { from: 1_000, until: 4_000 },
  until: 18_000,
  ...change,
});
const migrated = {
  source: [event(9_000, 'Suspended Migrated'), event(9_900, 'operation: 5\n\tdowntime: 180', 'job-completed')],
  destination: [event(5_000, 'Started Migrated'), event(9_150, 'Resumed Migrated')],
};

describe('a move seen from outside', () => {
  it('is timed by libvirt, its blackout by pings, less what is usual', () => {
    const measurement = measureMove(notes({ ...migrated, pings: answers(0, 20_000, 10, [9_000, 9_200]) }));
    expect(measurement).toMatchObject({ totalMs: 4_150, blackoutMs: 190, downtimeMs: 180, longestGapMs: 200 });
  });

  it('does not take a throttled guest that answers in bursts for a blackout, nor a later gap for the switch', () => {
    const bursts = [3_000, 4_900, 5_000, 6_900, 8_700].flatMap((at) => [at, at + 1, at + 2]);
    const pings = [...bursts, ...answers(9_300, 14_000, 10), ...answers(15_000, 20_000, 10)];
    const measurement = measureMove(notes({ ...migrated, pings }));
    expect(measurement).toMatchObject({ blackoutMs: 0, usualGapMs: 1_898, longestGapMs: 1_898 });
  });

  it('ends a post-copy when all memory is there, and its blackout when the guest runs', () => {
    const measurement = measureMove(
      notes({
        source: [event(9_000, 'Suspended Migrated'), event(9_001, 'Suspended Post-copy')],
        destination: [
          event(5_000, 'Started Migrated'),
          event(9_080, 'Resumed Post-copy'),
          event(12_600, 'Resumed Migrated'),
        ],
        pings: answers(0, 20_000, 10, [9_000, 9_100], [11_000, 11_500]),
      }),
    );
    expect(measurement).toMatchObject({ totalMs: 7_600, blackoutMs: 90 });
  });

  it('compares the requests answered during the copy with those at rest', () => {
    const slow = [...answers(0, 5_000, 10), ...answers(5_000, 9_150, 100), ...answers(9_150, 20_000, 10)];
    const { requests } = measureMove(notes({ ...migrated, answers: slow }));
    expect(requests.before).toBeCloseTo(100, 0);
    expect(requests.during).toBeCloseTo(10, 0);
  });

  it('has no blackout and no total of a guest that stayed, but how it was slowed', () => {
    const { requests, ...measurement } = measureMove(notes({ destination: [event(5_000, 'Started Migrated')] }));
    expect(measurement).toEqual({ longestGapMs: 10 });
    expect(requests.during).toBeCloseTo(100, 0);
  });
});
