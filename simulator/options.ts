import { Command, InvalidArgumentError, Option } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { ALL_KINDS, FAULT_KINDS, type FaultKind } from './harness/fault-catalog.ts';
import { INVARIANTS } from './harness/invariants.ts';
import { MUTATIONS } from './harness/mutations/catalog.ts';

export interface SimulateOptions {
  seeds: number;
  first?: number;
  seed?: number;
  migrations: number;
  hosts: number;
  evacuations: number;
  faults: readonly FaultKind[];
  minutes?: number;
  /** `true`: all measures. */
  mutate?: true | readonly string[];
  assembly?: string;
  json?: true;
}

export const DEFAULTS = { migrations: 8, hosts: 4, evacuations: 1, faults: ALL_KINDS };

const wholeNumber = (least: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new InvalidArgumentError(`must be a whole number, ${least} or more.`);
  return value;
};

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('must be a number greater than 0.');
  return value;
}

function kindsIn(text: string): readonly FaultKind[] {
  if (text === 'none') return [];
  if (text === 'all') return ALL_KINDS;
  return knownNames(text, ['all', 'none', ...ALL_KINDS]) as FaultKind[];
}

const measuresIn = (text: string): readonly string[] =>
  knownNames(
    text,
    MUTATIONS.map(({ name }) => name),
  );

function knownNames(text: string, known: readonly string[]): string[] {
  const names = text.split(',');
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return names;
  throw new InvalidArgumentError(`there is no ${unknown.join(', ')}; there are ${known.join(', ')}.`);
}

const list = (entries: readonly (readonly [string, string])[]): string =>
  entries.map(([name, text]) => `  ${name.padEnd(20)}${text}`).join('\n');

const EXAMPLES = `
Examples:
  npm run simulate                               50 worlds with fresh seeds and all faults
  npm run simulate -- --seeds 1000 --minutes 10  as many worlds as ten minutes allow
  npm run simulate -- --seed 1234000             one world: prints what happens in it
  npm run simulate -- --faults partition,cancel  only faults of these kinds
  npm run simulate -- --mutate                   switches off each safety measure in turn
  npm run simulate -- --mutate fence,claim       only these

A world is repeated exactly by its seed, as long as the code and the other options are the same.
Exits with 0 when all invariants hold (with --mutate: when each measure is noticed to be off), with 1 otherwise.`;

/** Exits with a message on options that it does not know, and on --help. */
export function readOptions(argv: readonly string[]): SimulateOptions {
  return new Command('npm run simulate --')
    .description(
      'Migrates VMs in simulated worlds, under faults drawn from a seed, and checks the invariants below all the time. What runs is\n' +
        "the synthesized state machines, the real functions and the agents' own code, on simulated hypervisors and in virtual time.",
    )
    .version(manifest.version)
    .option('--seeds <n>', 'number of worlds', wholeNumber(1), 50)
    .option('--first <seed>', 'the first seed; otherwise a fresh one is drawn and printed', wholeNumber(0))
    .option('--seed <seed>', 'run only the world of this seed, and print what happens in it', wholeNumber(0))
    .option('--migrations <n>', 'migrations in each world', wholeNumber(1), DEFAULTS.migrations)
    .option('--hosts <n>', 'hosts in each world', wholeNumber(2), DEFAULTS.hosts)
    .option('--evacuations <n>', 'evacuations in each world', wholeNumber(0), DEFAULTS.evacuations)
    .addOption(
      new Option('--faults [kinds]', 'all, none, or kinds separated by commas')
        .preset('all')
        .argParser(kindsIn)
        .default(DEFAULTS.faults, 'all'),
    )
    .option('--minutes <n>', 'begin no further world after this time', positiveNumber)
    .option(
      '--mutate [measures]',
      'switch off each safety measure, or those named, and show that the simulation notices',
      measuresIn,
    )
    .option('--assembly <folder>', 'a cloud assembly to run instead of the one synthesized from these sources')
    .option('--json', 'print the result as one JSON object on the last line of standard output')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', `\nFaults:\n${list(Object.entries(FAULT_KINDS))}`)
    .addHelpText('after', `\nMeasures that --mutate switches off, and what happens then:`)
    .addHelpText('after', list(MUTATIONS.map(({ name, off }) => [name, off])))
    .addHelpText('after', `\nInvariants:\n${INVARIANTS.map((name) => `  ${name}`).join('\n')}`)
    .parse(argv)
    .opts<SimulateOptions>();
}
