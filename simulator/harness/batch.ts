import type { FaultKind } from './fault-catalog.ts';
import type { Fault } from './fault-plan.ts';
import type { Invariant } from './invariants.ts';
import { shrink } from './shrink.ts';
import { runWorld, type WorldOptions, type WorldResult } from './world.ts';

export interface Batch extends Omit<WorldOptions, 'seed' | 'plan'> {
  seeds: Iterable<number>;
  /** Called before each seed; the batch ends when it returns false. */
  shouldContinue(): boolean;
  /** Called after each seed. */
  onResult(result: WorldResult, totals: Totals): void;
}

export interface Finding {
  seed: number;
  invariant: Invariant;
  detail: string;
  /** A minimal set of the seed's faults that violates the same invariant. */
  faults: Fault[];
}

export interface Totals {
  seeds: number;
  migrations: number;
  /** Faults injected, by kind. */
  faults: Partial<Record<FaultKind, number>>;
  /** Migrations by their final status; `REFUSED` left no record, because the VM was busy. */
  outcomes: Record<string, number>;
  /** Migrations that used post-copy, by their final status. */
  postCopies: Record<string, number>;
  violations: Finding[];
  /** Of this process's CPU time: machines are shared. */
  migrationsPerSecond: number;
}

/** Runs one world for each seed. A world that violates an invariant is run again with fewer and fewer faults. */
export async function simulate({ seeds, shouldContinue, onResult, ...world }: Batch): Promise<Totals> {
  const totals: Totals = {
    seeds: 0,
    migrations: 0,
    faults: {},
    outcomes: {},
    postCopies: {},
    violations: [],
    migrationsPerSecond: 0,
  };
  let spent = 0;
  for (const seed of seeds) {
    if (!shouldContinue()) break;
    const began = process.cpuUsage();
    const result = await runWorld({ ...world, seed });
    const { user, system } = process.cpuUsage(began);
    spent += (user + system) / 1_000_000;
    totals.seeds += 1;
    totals.migrations += Object.values(result.outcomes).reduce((sum, count) => sum + count, 0);
    totals.migrationsPerSecond = Math.round((totals.migrations / spent) * 10) / 10;
    for (const { kind } of result.injected) totals.faults[kind] = (totals.faults[kind] ?? 0) + 1;
    for (const each of ['outcomes', 'postCopies'] as const) {
      for (const [status, count] of Object.entries(result[each])) {
        totals[each][status] = (totals[each][status] ?? 0) + count;
      }
    }
    const [first] = result.violations;
    if (first !== undefined) totals.violations.push({ seed, ...first, faults: await minimalFaults(world, result) });
    onResult(result, totals);
  }
  return totals;
}

/** A minimal set of a world's faults that violates the same invariant; the details of the violation may differ. */
export function minimalFaults(world: Omit<WorldOptions, 'seed' | 'plan'>, result: WorldResult): Promise<Fault[]> {
  const { seed, violations, injected } = result;
  return shrink(injected, async (plan) => {
    const again = await runWorld({ ...world, seed, plan });
    return again.violations.some(({ invariant }) => invariant === violations[0]!.invariant);
  });
}
