import { Command, InvalidArgumentError } from 'commander';
import { installLab } from '../lab/hosts/install.ts';
import manifest from '../package.json' with { type: 'json' };
import { convergenceBench, convergenceTable, RATES, WAYS } from './convergence.ts';
import { forecastBench, forecastTable } from './forecast.ts';
import { handoverBench, handoverTable } from './handover.ts';
import type { Way } from './strategies.ts';

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
      throw new InvalidArgumentError('must be multiples of the bandwidth from 0 to 10, such as 0,0.8,1.5.');
    return rate;
  });

const ways = (text: string): Way[] =>
  text.split(',').map((name) => {
    const way = WAYS.find((each) => each.name === name);
    if (way === undefined)
      throw new InvalidArgumentError(`must be some of ${WAYS.map((each) => each.name).join(', ')}.`);
    return way;
  });

const JSON_OPTION = ['--json', 'end with the result as one JSON object on the last line'] as const;
const say = (line: string): void => console.error(`- ${line}`);

const program = new Command('bench')
  .version(manifest.version)
  .description('Measures Handoff against others, side by side in one run, in the lab.');

program
  .command('handover')
  .description('blackout and total time, against virsh migrate --live --p2p on the same guest')
  .option('--runs <n>', 'runs of each', atLeast(10), 12)
  .option(...JSON_OPTION)
  .action(async ({ runs, json }: { runs: number; json?: true }) => {
    await installLab(say);
    const result = await handoverBench(runs, say);
    console.log(handoverTable(result));
    if (json) console.log(JSON.stringify(result));
  });

program
  .command('convergence')
  .description('guests from idle to busier than the link, moved by virsh, as others have it, and by Handoff')
  .option('--rates <list>', 'dirty rates, as multiples of the bandwidth', rates, RATES)
  .option('--ways <list>', `some of ${WAYS.map((each) => each.name).join(', ')}`, ways, [...WAYS])
  .option('--runs <n>', 'runs of each', atLeast(1), 1)
  .option(...JSON_OPTION)
  .action(async ({ json, ...options }: { rates: number[]; ways: Way[]; runs: number; json?: true }) => {
    await installLab(say);
    for (const way of options.ways) say(`${way.name.padEnd(16)} ${way.what}`);
    const result = await convergenceBench(options, say);
    console.log(convergenceTable(result));
    if (json) console.log(JSON.stringify(result));
  });

program
  .command('forecast')
  .description('what Handoff says of a move beforehand, against what came of it')
  .option('--runs <n>', 'how many migrations', atLeast(3), 30)
  .option(...JSON_OPTION)
  .action(async ({ runs, json }: { runs: number; json?: true }) => {
    await installLab(say);
    const result = await forecastBench(runs, say);
    console.log(forecastTable(result));
    if (json) console.log(JSON.stringify(result));
  });

await program.parseAsync();
