import type { Violation } from './invariant-checker.ts';
import { MUTATIONS } from './mutations.ts';
import { runWorld, VALID_CALLS, type WorldOptions } from './world.ts';

export interface Verdict {
  measure: string;
  off: string;
  /** The seed whose world broke a promise; undefined when none did. */
  seed?: number;
  violation?: Violation;
  worlds: number;
}

export interface MutationCheck extends Omit<WorldOptions, 'seed' | 'plan' | 'mutation' | 'menu'> {
  first: number;
  /** How many worlds to try for each measure. */
  worlds: number;
  only?: readonly string[] | undefined;
  after(verdict: Verdict): void;
}

/** Switches off one safety measure after the other. A simulation that does not notice proves nothing about that measure. */
export async function checkMutations({ first, worlds, only, after, ...world }: MutationCheck): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const { name: measure, off, provoke: menu, world: own = {}, in: hooks } of MUTATIONS) {
    if (only !== undefined && !only.includes(measure)) continue;
    const verdict: Verdict = { measure, off, worlds: 0 };
    for (let seed = first; seed < first + worlds && verdict.seed === undefined; seed++) {
      verdict.worlds += 1;
      const mutated = await runWorld({ ...world, ...own, seed, menu, mutation: hooks() });
      const [violation] = mutated.violations;
      if (violation === undefined) continue;
      if (violation.invariant === VALID_CALLS)
        throw new Error(`The mutation "${measure}" makes no sense: ${violation.what}`);
      // With the measure the same faults must do no harm, or they prove nothing about it.
      const sound = await runWorld({ ...world, ...own, seed, menu });
      if (sound.violations.length === 0) Object.assign(verdict, { seed, violation });
    }
    verdicts.push(verdict);
    after(verdict);
  }
  return verdicts;
}
