import { describe, expect, it } from 'vitest';
import { copyEventsOf } from '../../../../agent/convergence/copy-events.ts';
import { bandwidthOf, type Iteration, withLook } from '../../../../agent/convergence/iterations.ts';
import { type Situation, steer } from '../../../../agent/convergence/steer.ts';
import type { JobStats } from '../../../../agent/hypervisor.ts';
import { MIB } from '../../../../common/units.ts';
import type { Plan } from '../../../../contract/forecast.ts';
import { Policy } from '../../../../contract/policy.ts';

const LINK = 100;
const PLAIN: Plan = { method: 'plain', postCopyAllowed: false, connections: 1 };
const THROTTLED: Plan = { ...PLAIN, method: 'auto-converge', throttle: { initialPercent: 97, incrementPercent: 1 } };
const POST_COPY: Plan = { ...PLAIN, postCopyAllowed: true };

type Sizes = readonly (number | [mib: number, throttle: number])[];

/** Passes of these sizes in MiB, sent at 100 MiB/s. The first is what was held. */
function iterationsOf(sizes: Sizes): Iteration[] {
  let [sent, elapsedMs] = [280, 3_000];
  return sizes.map((size, index) => {
    const [mib, throttlePercent] = typeof size === 'number' ? [size, 0] : size;
    const pass = {
      iteration: index + 1,
      bytes: mib * MIB,
      throttlePercent,
      bytesProcessed: sent * MIB,
      elapsedMs,
      dirtyBytesPerSecond: 100 * MIB,
    };
    sent += mib;
    elapsedMs += (mib / LINK) * 1_000;
    return pass;
  });
}

function jobAt(pass: Iteration, bytesRemaining = pass.bytes): JobStats {
  return {
    operation: 'migration-out',
    bytesTotal: 512 * MIB,
    bytesRemaining,
    bytesPerSecond: LINK * MIB,
    ...pass,
  };
}

function situation(
  sizes: Sizes,
  given: Partial<Omit<Situation, 'policy'>> & { policy?: Partial<Policy> } = {},
): Situation {
  const iterations = iterationsOf(sizes);
  const { policy, ...rest } = given;
  return {
    iterations,
    job: jobAt(iterations.at(-1)!),
    newIteration: true,
    limitMs: 20,
    activeMs: 10_000,
    plan: PLAIN,
    ...rest,
    policy: Policy.parse({ autoConverge: false, ...policy }),
  };
}

const kindOf = (...args: Parameters<typeof situation>) => steer(situation(...args)).kind;

describe('a released copy', () => {
  it.each<[string, Sizes]>([
    ['before there is anything to compare with', [60, 200]],
    ['while passes shrink', [60, 200, 100]],
    ['while passes shrink, however many they are', [60, 200, 150, 110, 80, 60, 45]],
  ])('is left alone %s', (_, sizes) => {
    expect(kindOf(sizes)).toBe('wait');
  });

  it.each<[string, Sizes, number, number]>([
    ['a pass shrank slowly', [60, 200, 180], 20, 40],
    ['a pass grew', [60, 40, 200], 20, 40],
    ['the budget is near', [60, 200, 180], 160, 180],
    ['the guest is slowed by now', [60, 200, [200, 97]], 20, 180],
  ])('has its limit raised when %s', (_, sizes, limitMs, expected) => {
    const plan = { ...PLAIN, throttle: { initialPercent: 97, incrementPercent: 1 } };
    expect(steer(situation(sizes, { limitMs, plan }))).toMatchObject({ kind: 'raise-limit', limitMs: expected });
  });

  it('is judged once a pass, not at every look', () => {
    expect(kindOf([60, 200, 180], { newIteration: false })).toBe('wait');
  });

  it('says from which numbers', () => {
    expect(steer(situation([60, 200, 180]))).toMatchObject({
      why: {
        because: 'a pass was 90 % of the one before',
        iteration: 3,
        bytesRemaining: 180 * MIB,
        bytesPerSecond: LINK * MIB,
        downtimeLimitMs: 20,
        budgetMs: 300,
      },
    });
  });
});

describe('post-copy as planned', () => {
  const plan: Plan = { ...POST_COPY, method: 'post-copy' };
  it('begins when the first pass has ended, and not before', () => {
    const held = iterationsOf([60]);
    expect(kindOf([60], { plan, job: jobAt(held[0]!, 30 * MIB) })).toBe('wait');
    expect(kindOf([60], { plan, job: jobAt(held[0]!, 0) })).toBe('post-copy');
    expect(kindOf([60, 200], { plan })).toBe('post-copy');
  });
});

describe('without net progress', () => {
  const stalled: Sizes = [60, 200, 199, 201];
  const long: Sizes = [60, ...Array.from({ length: 22 }, () => 200)];

  it.each<[string, Sizes, Parameters<typeof situation>[1], unknown]>([
    [
      'goes over to post-copy where that is allowed',
      stalled,
      { plan: POST_COPY, policy: { onNonConvergence: 'postcopy' } },
      { kind: 'post-copy' },
    ],
    [
      'takes a longer blackout where that is allowed, as long as the rest needs',
      stalled,
      { policy: { onNonConvergence: 'exceed' } },
      { kind: 'raise-limit', limitMs: 2_513 },
    ],
    ['waits for the guest to calm down where neither is', stalled, {}, { kind: 'raise-limit', limitMs: 40 }],
    ['gives up after 40 s of it', long, { limitMs: 180 }, { kind: 'give-up', code: 'NotConverging' }],
    [
      'waits while QEMU can still throttle more',
      [60, [200, 97], [199, 97], [201, 97]],
      { plan: THROTTLED, limitMs: 180, policy: { autoConverge: true } },
      { kind: 'wait' },
    ],
    [
      'does not, once it can throttle no more',
      [60, [200, 99], [199, 99], [201, 99]],
      { plan: THROTTLED, limitMs: 180, policy: { autoConverge: true, onNonConvergence: 'exceed' } },
      { kind: 'raise-limit', limitMs: 2_513 },
    ],
    [
      'begins its count anew with a stronger throttle',
      [60, [200, 98], [199, 98], [201, 99]],
      { plan: THROTTLED, limitMs: 180, policy: { autoConverge: true, onNonConvergence: 'exceed' } },
      { kind: 'wait' },
    ],
    [
      'raises the limit within the budget when that is enough',
      [60, 15, 15, 15],
      { policy: { onNonConvergence: 'exceed' } },
      { kind: 'raise-limit', limitMs: 40 },
    ],
    [
      'is not what one large pass in between is',
      [60, 200, 260, 150],
      { plan: POST_COPY, policy: { onNonConvergence: 'postcopy' } },
      { kind: 'wait' },
    ],
    [
      'is not what slow progress is',
      [60, 200, 188, 176, 165],
      { plan: POST_COPY, policy: { onNonConvergence: 'postcopy' } },
      { kind: 'raise-limit', limitMs: 40 },
    ],
  ])('%s', (_, sizes, given, expected) => {
    expect(steer(situation(sizes, given))).toMatchObject(expected as object);
  });
});

describe('past the deadline', () => {
  const late = { activeMs: 3_601_000, newIteration: false };
  it.each<[string, Parameters<typeof situation>[1], unknown]>([
    ['gives up', {}, { kind: 'give-up', code: 'DeadlineExceeded' }],
    ['goes over to post-copy', { plan: POST_COPY, policy: { onNonConvergence: 'postcopy' } }, { kind: 'post-copy' }],
    ['takes a longer blackout', { policy: { onNonConvergence: 'exceed' } }, { kind: 'raise-limit', limitMs: 1_250 }],
    ['does not ask for it twice', { limitMs: 1_250, policy: { onNonConvergence: 'exceed' } }, { kind: 'wait' }],
    [
      'gives up when a minute later even that has not helped',
      { activeMs: 3_661_000, limitMs: 1_250, policy: { onNonConvergence: 'exceed' } },
      { kind: 'give-up', code: 'DeadlineExceeded' },
    ],
  ])('%s', (_, given, expected) => {
    expect(steer(situation([60, 200, 100], { ...late, ...given }))).toMatchObject(expected as object);
  });
});

describe('passes', () => {
  it('are told apart by their number, whatever a look shows in between', () => {
    const [first, second] = iterationsOf([60, 200]) as [Iteration, Iteration];
    let iterations = withLook([], jobAt(first));
    expect(withLook(iterations, jobAt(first, 10 * MIB))).toBe(iterations);
    iterations = withLook(iterations, jobAt(second));
    expect(iterations).toEqual([first, second]);
    expect(withLook(iterations, jobAt(first))).toBe(iterations);
  });

  it('tell the bandwidth there really was', () => {
    expect(bandwidthOf(iterationsOf([60, 200]))).toBe(LINK * MIB);
    expect(bandwidthOf(iterationsOf([60]))).toBeUndefined();
  });
});

describe('what is worth an event', () => {
  const told = (iterations: Partial<Iteration>[]) =>
    copyEventsOf(iterationsOf(iterations.map(() => 100)).map((pass, index) => ({ ...pass, ...iterations[index] })));
  const at = (mib: number, throttlePercent = 0) => ({ dirtyBytesPerSecond: mib * MIB, throttlePercent });

  it.each<[string, Partial<Iteration>[], string[]]>([
    ['nothing before there is anything to compare with', [at(0), at(30), at(90)], []],
    ['a steady guest', [at(0), at(30), at(90), at(85)], []],
    ['a batch job that begins', [at(0), at(10), at(12), at(90)], ['dirty rate changed']],
    ['and that ends', [at(0), at(10), at(90), at(88), at(12)], ['dirty rate changed']],
    ['the same change once', [at(0), at(10), at(12), at(90), at(92)], []],
    ['ups and downs of a quiet guest', [at(0), at(1), at(1), at(8)], []],
    ['a throttle', [at(0), at(30), at(90), at(90, 97)], ['guest throttled']],
    ['what a throttle does to the rate', [at(0), at(30), at(90), at(90, 97), at(30, 97)], []],
  ])('%s', (_, iterations, expected) => {
    expect(told(iterations).map(({ event }) => event)).toEqual(expected);
  });
});
