import type { Violation } from './invariants.ts';
import { MUTATIONS } from './mutations/catalog.ts';
import { runWorld, type WorldOptions } from './world.ts';

/** Whether the simulation noticed that one measure was off. */
export interface MutationResult {
  measure: string;
  off: string;
  /** The seed of the world that violated an invariant; undefined when none did. */
  seed?: number;
  violation?: Violation;
  worlds: number;
}

export interface MutationCheck extends Omit<WorldOptions, 'seed' | 'plan' | 'mutation' | 'catalog'> {
  first: number;
  /** How many worlds to try for each measure. */
  worlds: number;
  only?: readonly string[] | undefined;
  /** Called after each measure. */
  onResult(result: MutationResult): void;
}

/** Switches off each safety measure in turn. If the simulation does not notice, it proves nothing about that measure. */
export async function checkMutations({
  first,
  worlds,
  only,
  onResult,
  ...world
}: MutationCheck): Promise<MutationResult[]> {
  const results: MutationResult[] = [];
  for (const { name: measure, off, catalog, world: own = {}, overrides } of MUTATIONS) {
    if (only !== undefined && !only.includes(measure)) continue;
    const result: MutationResult = { measure, off, worlds: 0 };
    for (let seed = first; seed < first + worlds && result.seed === undefined; seed++) {
      result.worlds += 1;
      const mutated = await runWorld({ ...world, ...own, seed, catalog, mutation: overrides() });
      const [violation] = mutated.violations;
      if (violation === undefined) continue;
      if (violation.invariant === 'calls of AWS are valid')
        throw new Error(`The mutation "${measure}" is wrong: ${violation.detail}`);
      // With the measure on, the same faults must do no harm, or they prove nothing about the measure.
      const sound = await runWorld({ ...world, ...own, seed, catalog });
      if (sound.violations.length === 0) Object.assign(result, { seed, violation });
    }
    results.push(result);
    onResult(result);
  }
  return results;
}
