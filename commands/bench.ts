import { Command, InvalidArgumentError } from 'commander';
import { installLab } from '../test/lab/hosts/install.ts';
import { handoverBench, handoverTable } from './bench/handover.ts';

const atLeastTen = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 10) throw new InvalidArgumentError('must be a whole number, 10 or more.');
  return value;
};

const program = new Command('bench').description(
  'Measures Handoff against others, side by side in one run, in the lab.',
);
const say = (line: string): void => console.error(`- ${line}`);

program
  .command('handover')
  .description('blackout and total time, against virsh migrate --live --p2p on the same guest')
  .option('--runs <n>', 'runs of each', atLeastTen, 12)
  .option('--json', 'end with the result as one JSON object on the last line')
  .action(async ({ runs, json }: { runs: number; json?: true }) => {
    await installLab(say);
    const result = await handoverBench(runs, say);
    console.log(handoverTable(result));
    if (json) console.log(JSON.stringify(result));
  });

await program.parseAsync();
