import { randomInt } from 'node:crypto';
import { synthesize } from '../cdk/synthesize.ts';
import { minimalFaults, simulate } from './harness/batch.ts';
import { catalogOf } from './harness/fault-catalog.ts';
import { checkMutations } from './harness/mutation-check.ts';
import { runWorld } from './harness/world.ts';
import { readOptions } from './options.ts';
import { batchText, mutationRow, mutationsText, progressText, worldText } from './text.ts';

const PROGRESS_MS = 5_000;

const options = readOptions(process.argv);
const progress = (line: string): void => console.error(line);

// process.env asks the C library at each read, and the functions' middleware reads it often; a plain object does not.
process.env = { ...process.env };

if (options.assembly === undefined) progress('Synthesizing the stack...');
const assembly = options.assembly ?? (await synthesize({ sharedPackages: true }));
const { migrations, hosts, evacuations } = options;
const world = { assembly, migrations, hosts, evacuations, catalog: catalogOf(options.faults) };
const first = options.first ?? randomInt(1, 1_000_000) * 1_000;

if (options.seed !== undefined) await replay(options.seed);
else if (options.mutate !== undefined) await mutate(options.mutate);
else await search();

async function search(): Promise<void> {
  // A simulation makes many errors; their stack traces take time and are read only when one seed is replayed.
  Error.stackTraceLimit = 0;
  progress(`${options.seeds} worlds from seed ${first}, ${migrations} migrations on ${hosts} hosts in each`);
  const until = options.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.minutes * 60_000;
  let shownAt = Date.now();
  const totals = await simulate({
    ...world,
    seeds: Array.from({ length: options.seeds }, (_, index) => first + index),
    shouldContinue: () => Date.now() < until,
    onResult: ({ seed, violations: [violation] }, soFar) => {
      if (violation !== undefined) progress(`seed ${seed}: ${violation.invariant}: ${violation.detail}`);
      if (Date.now() - shownAt < PROGRESS_MS) return;
      shownAt = Date.now();
      progress(progressText(soFar, options.seeds));
    },
  });
  console.log(batchText(totals, options));
  if (options.json) console.log(JSON.stringify({ first, ...totals }));
  process.exitCode = totals.violations.length > 0 ? 1 : 0;
}

/** Runs the world as its seed has it. If it violates an invariant, shows it with the fewest faults instead: that is easier to read. */
async function replay(seed: number): Promise<void> {
  const full = await runWorld({ ...world, seed });
  const violated = full.violations.length > 0;
  if (violated)
    progress(`Seed ${seed} violates "${full.violations[0]!.invariant}". Searching for the fewest faults...`);
  const plan = violated ? await minimalFaults(world, full) : full.plan;
  const shown = violated ? await runWorld({ ...world, seed, plan }) : full;
  console.log(shown.timeline.join('\n'));
  console.log(worldText(violated, plan));
  if (options.json) console.log(JSON.stringify({ ...shown, timeline: undefined, plan }));
  process.exitCode = violated ? 1 : 0;
}

async function mutate(measures: true | readonly string[]): Promise<void> {
  progress(`up to ${options.seeds} worlds from seed ${first} for each measure`);
  const results = await checkMutations({
    ...world,
    evacuations: 0,
    first,
    worlds: options.seeds,
    only: measures === true ? undefined : measures,
    onResult: (result) => progress(mutationRow(result).join('  ')),
  });
  console.log(mutationsText(results));
  const missed = results.filter(({ seed }) => seed === undefined).map(({ measure }) => measure);
  if (options.json) console.log(JSON.stringify({ first, measures: results, missed }));
  process.exitCode = missed.length > 0 ? 1 : 0;
}
