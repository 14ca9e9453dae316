/** What libvirt said of real copies, put before the steering once more, with the policy they had and with others. */
import { describe, expect, it } from 'vitest';
import { copyEventsOf } from '../../../../agent/convergence/copy-events.ts';
import { firstLimitMs, mostLimitMs } from '../../../../agent/convergence/downtime-limit.ts';
import { type Iteration, withLook } from '../../../../agent/convergence/iterations.ts';
import { steer } from '../../../../agent/convergence/steer.ts';
import type { Plan } from '../../../../contract/forecast.ts';
import { Policy } from '../../../../contract/policy.ts';
import { type Recording, readRecording } from './recording.ts';

interface Decided {
  event: string;
  iteration: number;
  limitMs?: number;
  afterMs: number;
}

/** All that would have been decided, until something is from which the rest of the recording no longer follows. */
function replay(recording: Recording, wish: { policy?: Partial<Policy>; plan?: Partial<Plan> } = {}): Decided[] {
  const policy = Policy.parse({ ...recording.policy, ...wish.policy });
  const plan: Plan = { ...recording.plan, ...wish.plan };
  const { activeMs, looks } = recording;
  const budgetMs = policy.blackoutBudgetMs;
  const last = looks.at(-1)!.elapsedMs;
  const decided: Decided[] = [];
  let iterations: readonly Iteration[] = [];
  let limitMs = firstLimitMs(budgetMs);
  for (const job of looks) {
    const before = iterations;
    iterations = withLook(before, job);
    const newIteration = iterations !== before;
    const at = { iteration: job.iteration, afterMs: job.elapsedMs - looks[0]!.elapsedMs };
    if (newIteration) for (const { event } of copyEventsOf(iterations)) decided.push({ event, ...at });
    // What was worked for is known of the end; the looks say how long before it each was.
    const situation = {
      iterations,
      job,
      newIteration,
      limitMs,
      activeMs: activeMs - (last - job.elapsedMs),
      plan,
      policy,
    };
    const move = steer(situation);
    if (move.kind === 'raise-limit') limitMs = move.limitMs;
    if (move.kind !== 'wait')
      decided.push({ event: move.kind, ...at, ...('limitMs' in move && { limitMs: move.limitMs }) });
    if (move.kind === 'post-copy' || move.kind === 'give-up' || limitMs > mostLimitMs(budgetMs)) break;
  }
  return decided;
}

const NAMES = [
  'easy',
  'slow',
  'throttled',
  'throttled-3',
  'changed-postcopy',
  'changed-throttled',
  'exceeded',
  'late',
  'stalled',
] as const;

const kinds = (decided: Decided[]): string[] => decided.map(({ event }) => event);

describe('as they were', () => {
  it.each(NAMES)('%s: never past the budget unless the policy says so', (name) => {
    const recording = readRecording(name);
    const { blackoutBudgetMs, onNonConvergence } = recording.policy;
    for (const { limitMs = 0 } of replay(recording)) {
      if (onNonConvergence !== 'exceed') expect(limitMs).toBeLessThanOrEqual(mostLimitMs(blackoutBudgetMs));
    }
    if (recording.downtimeMs !== undefined && onNonConvergence !== 'exceed')
      expect(recording.downtimeMs).toBeLessThanOrEqual(blackoutBudgetMs);
  });

  it('an easy guest needs no decision at all', () => {
    expect(replay(readRecording('easy'))).toEqual([]);
  });

  it('a slow one has its limit raised step by step', () => {
    expect(replay(readRecording('slow')).map(({ event, limitMs }) => [event, limitMs])).toEqual([
      ['raise-limit', 40],
      ['raise-limit', 80],
      ['raise-limit', 160],
      ['raise-limit', 180],
    ]);
  });

  it('one that QEMU throttles has the whole budget from then on', () => {
    for (const name of ['throttled', 'throttled-3'] as const) {
      const [throttled, raised] = replay(readRecording(name));
      expect(throttled).toMatchObject({ event: 'guest throttled', iteration: 3 });
      expect(raised).toMatchObject({ event: 'raise-limit', iteration: 3, limitMs: 180 });
    }
  });

  it('one that begins to write more is noticed within a pass, and answered when there is no net progress', () => {
    const decided = replay(readRecording('changed-postcopy'));
    expect(decided[0]).toMatchObject({ event: 'raise-limit', iteration: 3 });
    expect(decided.at(-1)).toMatchObject({ event: 'post-copy', iteration: 4 });
    const throttled = replay(readRecording('changed-throttled'));
    expect(throttled.find(({ event }) => event === 'guest throttled')).toMatchObject({ iteration: 4 });
  });

  it('one that does not converge ends as its policy says', () => {
    expect(replay(readRecording('exceeded')).at(-1)).toMatchObject({ event: 'raise-limit', iteration: 4 });
    expect(replay(readRecording('exceeded')).at(-1)!.limitMs).toBeGreaterThan(3_000);
    expect(kinds(replay(readRecording('late'))).at(-1)).toBe('give-up');
    expect(replay(readRecording('stalled')).at(-1)).toMatchObject({ event: 'give-up', iteration: 14 });
  });
});

describe('with another policy', () => {
  const stalled = readRecording('stalled');

  it.each<[string, Parameters<typeof replay>[1], string, number]>([
    [
      'post-copy allowed',
      { policy: { onNonConvergence: 'postcopy' }, plan: { postCopyAllowed: true } },
      'post-copy',
      4,
    ],
    ['post-copy planned', { plan: { method: 'post-copy', postCopyAllowed: true } }, 'post-copy', 2],
    ['a longer blackout allowed', { policy: { onNonConvergence: 'exceed' } }, 'raise-limit', 4],
    ['a budget that suffices', { policy: { blackoutBudgetMs: 5_000 } }, 'raise-limit', 10],
    ['a deadline before the stall is one', { policy: { deadlineSeconds: 20 } }, 'give-up', 6],
  ])('the stalled copy, with %s: %s in pass %i', (_, wish, what, iteration) => {
    expect(replay(stalled, wish).at(-1)).toMatchObject({ event: what, iteration });
  });

  it('an easy copy is not touched by what is allowed', () => {
    const easy = readRecording('easy');
    for (const onNonConvergence of ['abort', 'exceed', 'postcopy'] as const)
      expect(
        replay(easy, { policy: { onNonConvergence }, plan: { postCopyAllowed: onNonConvergence === 'postcopy' } }),
      ).toEqual([]);
  });
});
