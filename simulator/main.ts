import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { synthesize } from '../cdk/synthesize.ts';
import { table } from '../common/text-table.ts';
import manifest from '../package.json' with { type: 'json' };
import { fewestFaults, simulate, type Totals } from './harness/batch.ts';
import { ALL_KINDS, FAULT_KINDS, type Fault, type FaultKind, menuOf } from './harness/fault-plan.ts';
import { checkMutations, type Verdict } from './harness/mutation-check.ts';
import { runWorld } from './harness/world.ts';

interface Flags {
  seeds: number;
  first?: number;
  seed?: number;
  migrations: number;
  hosts: number;
  evacuations: number;
  faults: readonly FaultKind[];
  minutes?: number;
  mutate?: true | string;
  assembly?: string;
  json?: true;
}

const whole = (least: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new InvalidArgumentError(`must be a whole number, ${least} or more.`);
  return value;
};

function kindsIn(text: string): readonly FaultKind[] {
  if (text === 'none') return [];
  if (text === 'all') return ALL_KINDS;
  const kinds = text.split(',');
  const unknown = kinds.filter((kind) => !Object.hasOwn(FAULT_KINDS, kind));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `there is no ${unknown.join(', ')}; there are all, none, ${Object.keys(FAULT_KINDS).join(', ')}.`,
    );
  }
  return kinds as FaultKind[];
}

const kindHelp = Object.entries(FAULT_KINDS).map(([kind, what]) => `  ${kind.padEnd(20)}${what}`);

const program = new Command('simulate')
  .version(manifest.version)
  .description(
    'Migrates VMs in simulated worlds, under faults drawn from a seed: the synthesized state machines, the real functions,\n' +
      "the agents' own code, simulated hypervisors, virtual time. Says when a promise is broken, and by which faults.",
  )
  .option('--seeds <n>', 'how many worlds', whole(1), 50)
  .option('--first <seed>', 'the first seed; otherwise one is drawn and printed', whole(0))
  .option('--seed <seed>', 'run this one and print what happens in it', whole(0))
  .option('--migrations <n>', 'migrations in each world', whole(1), 8)
  .option('--hosts <n>', 'hosts in each world', whole(2), 4)
  .option('--evacuations <n>', 'how often a host is to be emptied in each world', whole(0), 1)
  .addOption(
    new Option('--faults [kinds]', 'all, none, or some, with commas')
      .preset('all')
      .argParser(kindsIn)
      .default(ALL_KINDS, 'all'),
  )
  .option('--minutes <n>', 'begin no further world after that long', Number)
  .option('--mutate [measures]', 'switch off each safety measure in turn, and show that it is noticed')
  .option('--assembly <folder>', 'a cloud assembly to run in place of the one synthesized from these sources')
  .option('--json', 'end with the result as one JSON object on the last line')
  .addHelpText('after', `\nFaults:\n${kindHelp.join('\n')}`)
  .parse();

const flags = program.opts<Flags>();
const say = (line: string): void => console.error(line);
const describe = ({ kind, point, nth, after, ms, choice }: Fault): string =>
  `${kind} ${after ? 'after' : 'before'} ${point} no. ${nth}${ms === undefined ? '' : ` (${ms} ms)`}, choice ${choice}`;

// The real one asks the C library at each look, and the functions' middleware looks often.
process.env = { ...process.env };

const assembly = flags.assembly ?? (await synthesize({ sharedPackages: true }));
const world = {
  assembly,
  migrations: flags.migrations,
  hosts: flags.hosts,
  evacuations: flags.evacuations,
  menu: menuOf(flags.faults),
};
const first = flags.first ?? randomInt(1, 1_000_000) * 1_000;

if (flags.seed !== undefined) await replay(flags.seed);
else if (flags.mutate !== undefined) await mutate(flags.mutate);
else await search();

async function search(): Promise<void> {
  // Errors are much of what a simulation makes; where they were made is of use only when one seed is looked at.
  Error.stackTraceLimit = 0;
  say(`${flags.seeds} worlds from seed ${first}, ${flags.migrations} migrations on ${flags.hosts} hosts in each`);
  const until = flags.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + flags.minutes * 60_000;
  let toldAt = Date.now();
  const totals = await simulate({
    ...world,
    seeds: Array.from({ length: flags.seeds }, (_, index) => first + index),
    goOn: () => Date.now() < until,
    after: ({ seed, violations }, so) => {
      if (violations.length > 0) say(`seed ${seed}: ${violations[0]!.invariant}: ${violations[0]!.what}`);
      if (Date.now() - toldAt < 5_000) return;
      toldAt = Date.now();
      say(`${so.seeds} worlds, ${so.migrations} migrations, ${so.violations.length} broken promises`);
    },
  });
  console.log(summary(totals));
  if (flags.json) console.log(JSON.stringify({ first, ...totals }));
  process.exitCode = totals.violations.length > 0 ? 1 : 0;
}

function summary({ seeds, migrations, faults, outcomes, postCopies, violations, migrationsPerSecond }: Totals): string {
  const count = (of: Record<string, number>) => Object.entries(of).toSorted(([, a], [, b]) => b - a);
  const sum = (of: Record<string, number>) => String(Object.values(of).reduce((all, times) => all + times, 0));
  const lines = [
    table([
      ['worlds', String(seeds)],
      ['migrations', `${migrations} (${migrationsPerSecond} a second of CPU time)`],
      ...count(outcomes).map(([status, times]) => [`  ${status}`, String(times)]),
      ['by post-copy', sum(postCopies)],
      ...count(postCopies).map(([status, times]) => [`  ${status}`, String(times)]),
      ['faults', sum(faults)],
      ...count(faults).map(([kind, times]) => [`  ${kind}`, String(times)]),
      ['broken promises', String(violations.length)],
    ]),
  ];
  for (const { seed, invariant, what, faults: fewest } of violations) {
    lines.push('', `seed ${seed}: ${invariant}: ${what}`, ...fewest.map((fault) => `  ${describe(fault)}`));
    lines.push(`  see it: npm run simulate -- --seed ${seed}${worldPendingCleanups()}`);
  }
  if (violations.length === 0) lines.push('', 'Every promise held. Other worlds: the same command again.');
  return lines.join('\n');
}

function worldPendingCleanups(): string {
  const { migrations, hosts, evacuations, faults } = flags;
  const kinds = faults === ALL_KINDS ? '' : ` --faults ${faults.join(',') || 'none'}`;
  return `${migrations === 8 ? '' : ` --migrations ${migrations}`}${hosts === 4 ? '' : ` --hosts ${hosts}`}${evacuations === 1 ? '' : ` --evacuations ${evacuations}`}${kinds}`;
}

/** Once as the seed has it, and, if that breaks a promise, once more with the fewest faults, which is easier to read. */
async function replay(seed: number): Promise<void> {
  const full = await runWorld({ ...world, seed });
  const broken = full.violations.length > 0;
  const plan = broken ? await fewestFaults(world, full) : full.plan;
  const shown = broken ? await runWorld({ ...world, seed, plan }) : full;
  console.log(shown.timeline.join('\n'));
  console.log(broken ? `\nThe fewest faults that do it:\n${plan.map(describe).join('\n')}` : '\nEvery promise held.');
  if (flags.json) console.log(JSON.stringify({ ...shown, timeline: undefined, plan }));
  process.exitCode = broken ? 1 : 0;
}

async function mutate(which: true | string): Promise<void> {
  say(`up to ${flags.seeds} worlds from seed ${first} for each measure`);
  const verdicts = await checkMutations({
    ...world,
    evacuations: 0,
    first,
    worlds: flags.seeds,
    only: which === true ? undefined : which.split(','),
    after: (verdict) => say(verdictLine(verdict).join('  ')),
  });
  console.log(table([['without', 'found', 'by'], ...verdicts.map(verdictLine).map(brief)]));
  const missed = verdicts.filter(({ seed }) => seed === undefined);
  if (flags.json)
    console.log(JSON.stringify({ first, measures: verdicts, missed: missed.map(({ measure }) => measure) }));
  process.exitCode = missed.length > 0 ? 1 : 0;
}

/** What recovery tells an operator can fill a screen; it has been shown as it was found. */
function brief([measure = '', found = '', by = '']: string[]): string[] {
  const most = 100;
  return [measure, found.length > most ? `${found.slice(0, most)}…` : found, by];
}

function verdictLine({ measure, seed, violation, worlds }: Verdict): string[] {
  return violation === undefined
    ? [measure, 'NOT CAUGHT', `${worlds} worlds`]
    : [measure, `${violation.invariant}: ${violation.what}`, `seed ${seed}`];
}
