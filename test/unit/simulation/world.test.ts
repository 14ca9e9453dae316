import { beforeAll, describe, expect, it, vi } from 'vitest';
import { synthesize } from '../../../cdk/synthesize.ts';
import { ALL_KINDS, type Fault, menuOf } from '../../../local/simulation/faults.ts';
import { checkMutations } from '../../../local/simulation/mutation-check.ts';
import { simulate } from '../../../local/simulation/simulate.ts';
import { runWorld } from '../../../local/simulation/world.ts';

// A busy machine may take long over what needs no time; synthesizing takes some fifteen seconds, the first time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let assembly = '';
beforeAll(async () => {
  assembly = await synthesize();
});
const world = (seed: number) => ({ assembly, seed, migrations: 4, hosts: 3, menu: menuOf(ALL_KINDS) });
const peaceful = (seed: number) => ({ ...world(seed), menu: [] });

describe('a simulated world', () => {
  it('goes the same way each time, line by line', async () => {
    const first = await runWorld(world(2));
    expect(first.injected.length).toBeGreaterThan(0);
    expect(await runWorld(world(2))).toEqual(first);
  });

  it('without its faults goes as the seed goes without any', async () => {
    const { timeline } = await runWorld({ ...world(2), plan: [] });
    expect(timeline).toEqual((await runWorld(peaceful(2))).timeline);
  });

  it('without faults moves every VM that is free', async () => {
    const { outcomes, violations } = await runWorld(peaceful(1));
    expect(violations).toEqual([]);
    expect(outcomes.SUCCEEDED).toBeGreaterThan(0);
    expect(Object.keys(outcomes).filter((status) => !['SUCCEEDED', 'REFUSED'].includes(status))).toEqual([]);
  });

  it.each<[string, Omit<Fault, 'nth' | 'choice'> & { choice?: number }, Record<string, number>]>([
    [
      'a mover that dies right after the commit',
      { kind: 'mover-killed', point: 'mover:commit', after: true },
      { FAILED: 1 },
    ],
    [
      'a mover that dies right before Finish takes effect',
      { kind: 'mover-killed', point: 'daemon:finish', after: false },
      { FAILED: 1 },
    ],
    [
      'a mover that dies before it hears that Finish has taken effect',
      { kind: 'mover-killed', point: 'daemon:finish', after: true },
      { SUCCEEDED: 1 },
    ],
    [
      'a daemon that is restarted before it answers Finish',
      { kind: 'libvirtd-restarted', point: 'daemon:finish', after: true, choice: 0.9 },
      { SUCCEEDED: 1 },
    ],
    ['a commit whose answer is lost', { kind: 'aws-answer-lost', point: 'commit', after: true }, { SUCCEEDED: 1 }],
    [
      'a source that loses AWS at the commit',
      { kind: 'partition', point: 'mover:commit', after: false, choice: 0.5, ms: 10_000 },
      { FAILED: 1 },
    ],
  ])('keeps its promises with %s', async (_, fault, outcomes) => {
    const plan = [{ nth: 1, choice: 0, ...fault }];
    const result = await runWorld({ ...peaceful(1), migrations: 1, plan });
    expect(result.injected).toEqual(plan);
    expect(result).toMatchObject({ outcomes, violations: [] });
  });
});

describe('simulate', () => {
  it('finds no broken promise', async () => {
    const { violations, migrations } = await simulate({
      ...world(0),
      seeds: [1, 2, 3, 4, 5, 6],
      goOn: () => true,
      after: () => {},
    });
    expect(violations).toEqual([]);
    expect(migrations).toBe(24);
  });

  it.each(['commit', 'look-after-finish', 'claim', 'lock'])('notices when a measure is off: %s', async (measure) => {
    const [verdict] = await checkMutations({
      assembly,
      migrations: 4,
      hosts: 3,
      first: 1,
      worlds: 15,
      only: [measure],
      after: () => {},
    });
    expect(verdict).toMatchObject({ measure, violation: { invariant: expect.any(String) } });
  });
});
