import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { LOCAL_FILE } from '../cli/api-client.ts';
import manifest from '../package.json' with { type: 'json' };
import { openLab } from './hosts/lab.ts';
import { startManagedLab } from './managed-lab.ts';

const options = new Command('local')
  .version(manifest.version)
  .description('Runs the synthesized control plane on this machine, with the hosts of a lab that is up, until Ctrl-C.')
  .option('--lab <name>', 'which lab ("npm run lab -- up" brings one up)', 'lab')
  .parse()
  .opts<{ lab: string }>();

const managed = await startManagedLab(await openLab(options.lab));
mkdirSync(dirname(LOCAL_FILE), { recursive: true });
writeFileSync(LOCAL_FILE, JSON.stringify(managed.access), { mode: 0o600 });
const endpoint = new URL(managed.access.url).origin;
console.log(
  [
    `The embedded AWS answers on ${endpoint}, with the hosts ${managed.lab.hosts.join(', ')}.`,
    '  npx handoff hosts',
    `  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region ${managed.access.region} --endpoint-url ${endpoint} stepfunctions list-state-machines`,
    ...Object.entries(managed.aws.outputs).map(([name, value]) => `  ${name} = ${value}`),
    'Ctrl-C stops it; the lab stays up.',
  ].join('\n'),
);
await new Promise<void>((resolve) => {
  process.once('SIGINT', () => resolve());
  process.once('SIGTERM', () => resolve());
});
rmSync(LOCAL_FILE, { force: true });
await managed.stop();
