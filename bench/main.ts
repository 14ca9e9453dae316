import { Command, InvalidArgumentError, Option } from 'commander';
import { installLab } from '../lab/hosts/install.ts';
import manifest from '../package.json' with { type: 'json' };
import { convergenceBench, convergenceTable, RATES, STRATEGIES } from './convergence.ts';
import { forecastBench, forecastTable } from './forecast.ts';
import { handoverBench, handoverTable } from './handover.ts';
import type { MigrationStrategy } from './migration-strategies.ts';

const atLeast =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least)
      throw new InvalidArgumentError(`must be a whole number, ${least} or more.`);
    return value;
  };

const rates = (text: string): number[] =>
  text.split(',').map((part) => {
    const rate = Number(part);
    if (part.trim() === '' || !(rate >= 0 && rate <= 10))
      throw new InvalidArgumentError('must be multiples of the link’s rate from 0 to 10, such as 0,0.8,1.5.');
    return rate;
  });

const strategies = (text: string): MigrationStrategy[] =>
  text.split(',').map((name) => {
    const strategy = STRATEGIES.find((each) => each.name === name);
    if (strategy === undefined)
      throw new InvalidArgumentError(`must be some of ${STRATEGIES.map((each) => each.name).join(', ')}.`);
    return strategy;
  });

const JSON_OPTION = ['--json', 'end with the result as one JSON object on the last line'] as const;
const say = (line: string): void => console.error(`- ${line}`);

const program = new Command('bench')
  .version(manifest.version)
  .description(
    'Measures Handoff against other ways to migrate, side by side in one run, on real libvirt hosts on this machine (Linux, root). ' +
      'Installs what the lab needs, prints each move to stderr and a table to stdout, and removes the lab at the end.',
  )
  .addHelpText(
    'after',
    `
Examples:
  npm run bench -- handover                       blackout and total time against virsh
  npm run bench -- convergence --rates 0,1.5      only an idle and a busy guest
  npm run bench -- convergence --strategies auto-converge,handoff --runs 3
  npm run bench -- forecast --runs 30 --json      the last line is the result as JSON

The figures in docs/figures.md come from these commands. Other load on the machine changes every time they measure.`,
  );

program
  .command('handover')
  .description('blackout and total time of Handoff and of virsh migrate --live --p2p, on one guest in turn')
  .option('--runs <n>', 'moves of each kind', atLeast(10), 12)
  .option(...JSON_OPTION)
  .action(async ({ runs, json }: { runs: number; json?: true }) => {
    await installLab(say);
    const result = await handoverBench(runs, say);
    console.log(handoverTable(result));
    if (json) console.log(JSON.stringify(result));
  });

program
  .command('convergence')
  .description(
    'guests from idle to busier than the link, moved by virsh, with the defaults of other systems, and by Handoff',
  )
  .addOption(
    new Option('--rates <list>', 'dirty rates, as multiples of the link’s rate')
      .argParser(rates)
      .default(RATES, RATES.join(',')),
  )
  .addOption(
    new Option('--strategies <list>', `some of ${STRATEGIES.map((each) => each.name).join(', ')}`)
      .argParser(strategies)
      .default([...STRATEGIES], 'all'),
  )
  .option('--runs <n>', 'moves by each strategy at each rate', atLeast(1), 1)
  .option(...JSON_OPTION)
  .action(
    async ({ json, ...options }: { rates: number[]; strategies: MigrationStrategy[]; runs: number; json?: true }) => {
      await installLab(say);
      for (const strategy of options.strategies) say(`${strategy.name.padEnd(16)} ${strategy.description}`);
      const result = await convergenceBench(options, say);
      console.log(convergenceTable(result));
      if (json) console.log(JSON.stringify(result));
    },
  );

program
  .command('forecast')
  .description('the forecasts of migrations against their outcomes')
  .option('--runs <n>', 'migrations', atLeast(3), 30)
  .option(...JSON_OPTION)
  .action(async ({ runs, json }: { runs: number; json?: true }) => {
    await installLab(say);
    const result = await forecastBench(runs, say);
    console.log(forecastTable(result));
    if (json) console.log(JSON.stringify(result));
  });

await program.parseAsync();
