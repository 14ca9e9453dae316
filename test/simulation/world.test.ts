import { beforeAll, describe, expect, it, vi } from 'vitest';
import { synthesize } from '../../cdk/synthesize.ts';
import { simulate } from '../../simulator/harness/batch.ts';
import { ALL_KINDS, catalogOf } from '../../simulator/harness/fault-catalog.ts';
import type { Fault } from '../../simulator/harness/fault-plan.ts';
import { checkMutations } from '../../simulator/harness/mutation-check.ts';
import { runWorld } from '../../simulator/harness/world.ts';

// A busy machine may take long over what needs no time; synthesizing takes some fifteen seconds, the first time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let assembly = '';
beforeAll(async () => {
  assembly = await synthesize({ sharedPackages: true });
});
const world = (seed: number) => ({ assembly, seed, migrations: 4, hosts: 3, catalog: catalogOf(ALL_KINDS) });
const peaceful = (seed: number) => ({ ...world(seed), catalog: [] });

describe('a simulated world', () => {
  it('goes the same way each time, line by line', async () => {
    const first = await runWorld(world(5));
    expect(first.injected.length).toBeGreaterThan(0);
    expect(await runWorld(world(5))).toEqual(first);
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
    [
      'a destination that loses its power before it has answered Finish: what the VM wrote is unknown',
      { kind: 'host-crashed', point: 'daemon:finish', after: true, choice: 0.9, ms: 10_000 },
      { NEEDS_OPERATOR: 1 },
    ],
    [
      'a destination that loses its power before the commit',
      { kind: 'host-crashed', point: 'mover:commit', after: false, choice: 0.9, ms: 10_000 },
      { FAILED: 1 },
    ],
    [
      'a source that loses its power while it copies',
      { kind: 'host-crashed', point: 'mover:job', after: false, choice: 0, ms: 600_000 },
      { FAILED: 1 },
    ],
  ])('keeps its promises with %s', async (_, fault, outcomes) => {
    const plan = [{ nth: 1, choice: 0, ...fault }];
    const result = await runWorld({ ...peaceful(1), migrations: 1, plan });
    expect(result.injected).toEqual(plan);
    expect(result).toMatchObject({ outcomes, violations: [] });
  });
});

describe('a world in which a VM goes over by post-copy', () => {
  const SEED = 11;

  it.each<[string, Omit<Fault, 'nth' | 'choice'> & Partial<Fault>, string]>([
    ['a stream that breaks', { kind: 'postcopy-broken', point: 'daemon:rest', after: false }, 'SUCCEEDED'],
    [
      'a mover that dies while the rest is on its way',
      { kind: 'mover-killed', point: 'mover:rest', after: true },
      'SUCCEEDED',
    ],
    [
      'a source whose daemon is restarted while the rest is on its way',
      { kind: 'libvirtd-restarted', point: 'mover:rest', after: false, choice: 0 },
      'SUCCEEDED',
    ],
    [
      'hosts that lose each other for three minutes',
      { kind: 'partition', point: 'mover:rest', nth: 3, after: false, choice: 0, ms: 180_000 },
      'SUCCEEDED',
    ],
    [
      'a source that loses its power: half of the VM is gone',
      { kind: 'host-crashed', point: 'mover:rest', after: false, choice: 0, ms: 10_000 },
      'NEEDS_OPERATOR',
    ],
    [
      'a destination whose QEMU is killed: the other half is gone',
      { kind: 'qemu-killed', point: 'mover:rest', after: false, choice: 0.9 },
      'NEEDS_OPERATOR',
    ],
    [
      'a mover that dies before Finish: libvirt throws the half away that it had prepared',
      { kind: 'mover-killed', point: 'daemon:startPostCopy', after: true },
      'NEEDS_OPERATOR',
    ],
  ])('keeps its promises with %s', async (_, fault, status) => {
    const plan = [{ nth: 1, choice: 0, ...fault }];
    const result = await runWorld({ ...peaceful(SEED), localDisks: 0, migrations: 1, plan });
    expect(result.injected).toEqual(plan);
    expect(result).toMatchObject({ postCopies: { [status]: 1 }, outcomes: { [status]: 1 }, violations: [] });
  });

  it('asks an operator where a broken one cannot be resumed, and crashes no daemon', async () => {
    const plan: Fault[] = [{ kind: 'postcopy-broken', point: 'daemon:rest', nth: 1, after: false, choice: 0 }];
    const result = await runWorld({ ...peaceful(8), localDisks: 0, migrations: 1, plan });
    expect(result).toMatchObject({ postCopies: { NEEDS_OPERATOR: 1 }, violations: [] });
    const halves = 'postcopy-failed on';
    expect(result.timeline.findLast((line) => line.includes('postcopy-'))?.split(halves)).toHaveLength(3);
  });
});

describe('a world with migrated storage', () => {
  const copied = () => ({ ...peaceful(1), localDisks: 1, migrations: 1 });
  // The destination's agent, at the image's own steps: it is the sixth that makes it, the seventh that gives it its place, and the
  // tenth that leaves it to the VM.
  const image = (nth: number, after: boolean) => ({ point: 'agent:image', nth, after });

  it.each<[string, Omit<Fault, 'nth' | 'choice'> & Partial<Fault>, string]>([
    ['an agent that dies before it makes the image', { kind: 'agent-killed', ...image(6, false) }, 'FAILED'],
    ['an agent that dies before the image has its place', { kind: 'agent-killed', ...image(7, false) }, 'FAILED'],
    ['an agent that dies before it reports the image', { kind: 'agent-killed', ...image(7, true) }, 'FAILED'],
    ['an agent that makes it too late', { kind: 'process-stalled', ...image(6, false), ms: 90_000 }, 'FAILED'],
    ['an agent that dies before it leaves the image', { kind: 'agent-killed', ...image(10, false) }, 'SUCCEEDED'],
    ['a mover that dies before the commit', { kind: 'mover-killed', point: 'mover:commit', after: false }, 'FAILED'],
    ['a mover that dies after Finish', { kind: 'mover-killed', point: 'daemon:finish', after: true }, 'SUCCEEDED'],
    [
      'a VM that ends on the destination right after it wrote there',
      { kind: 'qemu-killed', point: 'mover:confirm', after: false, choice: 0.9 },
      'FAILED',
    ],
  ])('keeps its promises with %s', async (_, fault, status) => {
    const plan = [{ nth: 1, choice: 0, ...fault }];
    const result = await runWorld({ ...copied(), plan });
    expect(result.injected).toEqual(plan);
    expect(result).toMatchObject({ outcomes: { [status]: 1 }, violations: [] });
  });
});

describe('a mover that is suspended', () => {
  it.each<[string, Omit<Fault, 'nth' | 'choice'>, string]>([
    [
      'for a while after the commit, and continues',
      { kind: 'process-stalled', point: 'mover:commit', after: true, ms: 20_000 },
      'SUCCEEDED',
    ],
    [
      'for too long after the commit',
      { kind: 'process-stalled', point: 'mover:commit', after: true, ms: 150_000 },
      'FAILED',
    ],
    [
      'for too long after Finish',
      { kind: 'process-stalled', point: 'mover:finish', after: true, ms: 150_000 },
      'SUCCEEDED',
    ],
    [
      'for too long before the commit',
      { kind: 'process-stalled', point: 'mover:commit', after: false, ms: 150_000 },
      'FAILED',
    ],
  ])('%s, does no harm', async (_, fault, status) => {
    const plan = [{ nth: 1, choice: 0, ...fault }];
    const result = await runWorld({ ...peaceful(1), localDisks: 0, migrations: 1, plan });
    expect(result).toMatchObject({ outcomes: { [status]: 1 }, violations: [], injected: plan });
  });
});

describe('a host that is to be emptied', () => {
  it('is in maintenance when nothing is left on it', async () => {
    const { timeline, violations } = await runWorld({ ...peaceful(5), migrations: 1, vms: 6, evacuations: 1 });
    expect(violations).toEqual([]);
    expect(timeline.some((line) => line.endsWith('is to be evacuated'))).toBe(true);
    expect(timeline.some((line) => line.endsWith('is in maintenance'))).toBe(true);
  });

  it('must not be marked so with a VM on it', async () => {
    // The state machine's inventory of the host, answered as if it had no VM.
    const blind = (text: unknown) => String(text).replace(/"domains":\[[^\]]*\]/, '"domains":[]');
    const { violations } = await runWorld({
      ...peaceful(3),
      migrations: 1,
      vms: 6,
      evacuations: 1,
      mutation: {
        call(call, next) {
          if (call.operation === 'SendTaskSuccess') call.input.output = blind(call.input.output);
          return next();
        },
      },
    });
    expect(new Set(violations.map(({ invariant }) => invariant))).toEqual(new Set(['a host in maintenance is empty']));
  });
});

describe('simulate', () => {
  it('finds no broken promise', async () => {
    const { violations, migrations } = await simulate({
      ...world(0),
      seeds: [1, 2, 3, 4, 5, 6],
      shouldContinue: () => true,
      onResult: () => {},
    });
    expect(violations).toEqual([]);
    expect(migrations).toBe(24);
  });

  it.each(['commit', 'inspect-after-finish', 'claim', 'lock'])('notices when a measure is off: %s', async (measure) => {
    const [verdict] = await checkMutations({
      assembly,
      migrations: 4,
      hosts: 3,
      first: 1,
      worlds: 15,
      only: [measure],
      onResult: () => {},
    });
    expect(verdict).toMatchObject({ measure, violation: { invariant: expect.any(String) } });
  });
});
