import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { LOCAL_FILE } from '../../cli/api-client.ts';
import { followMigration, progressPrinter } from '../../cli/follow-migration.ts';
import { duration } from '../../cli/text.ts';
import { table } from '../../common/text-table.ts';
import type { MigrationView } from '../../contract/api.ts';
import manifest from '../../package.json' with { type: 'json' };
import { machineSupport } from '../hosts/support.ts';
import type { DemoEnvironment, Observation } from './demo-environment.ts';
import { openLabEnvironment } from './lab-environment.ts';
import { openSimulatedEnvironment } from './simulated-environment.ts';

const program = new Command('demo')
  .version(manifest.version)
  .description('Migrates a running VM between two hosts of this machine, through the API, and shows what it cost.')
  .option('--json', 'end with the result as one JSON object on the last line')
  .option('--keep', 'leave all running afterwards, and say how to look around')
  .option('--simulated', 'use simulated hosts even where the lab could run')
  .parse();
const options = program.opts<{ json?: true; keep?: true; simulated?: true }>();
const say = (line: string): void => console.error(`- ${line}`);

const environment = await open();
try {
  const outcome = await migrate(environment);
  report(environment, outcome);
  process.exitCode = outcome.view.status === 'SUCCEEDED' ? 0 : 1;
  if (options.keep) await keep(environment);
} finally {
  await environment.close();
}

async function open(): Promise<DemoEnvironment> {
  const support = machineSupport();
  if (support.able && !options.simulated) return openLabEnvironment(say);
  if (!support.able) say(`no real hosts here: ${support.reason}`);
  say('the hosts and the guest are SIMULATED; the control plane and the agents are the real ones');
  return openSimulatedEnvironment(say);
}

async function migrate({
  api,
  vm,
  from,
  to,
  guestAddress,
  observe,
}: DemoEnvironment): Promise<{ view: MigrationView; seen: Observation }> {
  const watching = await observe();
  say(`POST /migrations: ${vm}, ${from} -> ${to}`);
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
    body: { vm, source: from, destination: to, reason: 'demo', ...(guestAddress && { guestAddress }) },
  });
  const view = await followMigration(api, migrationId, progressPrinter(process.stderr), 100);
  // A moment longer, so that what comes after the switch is seen too.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return { view, seen: await watching.stop() };
}

function report(environment: DemoEnvironment, { view, seen }: { view: MigrationView; seen: Observation }): void {
  const known = (ms: number | undefined): string => (ms === undefined ? 'not observed' : duration(ms));
  const simulated = environment.hypervisor === 'simulated';
  const rows = [
    ['VM', view.vm],
    ['was on', view.source],
    ['is on', view.runsOn ?? 'unknown'],
    ['status', view.status],
    ['total time', known(view.result?.totalMs)],
    [simulated ? 'downtime (simulated)' : 'downtime (QEMU)', known(view.result?.downtimeMs)],
  ];
  if (!simulated) {
    rows.push(
      ['blackout (outside)', known(seen.blackoutMs)],
      ['longest TCP gap', known(seen.tcpLongestGapMs)],
      ['TCP connection', seen.tcpIntact === undefined ? 'not observed' : seen.tcpIntact ? 'intact' : 'BROKEN'],
      ['bytes lost', seen.bytesLost === undefined ? 'not observed' : String(seen.bytesLost)],
      ['memory and disk', seen.guestIntact === undefined ? 'not observed' : seen.guestIntact ? 'intact' : 'DAMAGED'],
    );
  }
  console.log(`\n${table(rows)}`);
  if (view.failure) console.log(`\n${view.failure.code}: ${view.failure.message}`);
  if (simulated)
    console.log('\nThe times are simulated: no real guest was moved, and nothing was measured from outside.');
  if (!options.keep) {
    console.log(
      `\nNext: "npm run demo -- ${options.simulated ? '--simulated ' : ''}--keep" leaves it running, to look around with "npx handoff"; README.md goes on from there.`,
    );
  }
  if (options.json) {
    console.log(
      JSON.stringify({
        status: view.status,
        vm: view.vm,
        from: view.source,
        to: view.runsOn ?? null,
        hypervisor: environment.hypervisor,
        totalMs: view.result?.totalMs ?? null,
        downtimeMs: view.result?.downtimeMs ?? null,
        blackoutMs: seen.blackoutMs ?? null,
        tcpLongestGapMs: seen.tcpLongestGapMs ?? null,
        tcpIntact: seen.tcpIntact ?? null,
        executionArn: view.executionArn,
      }),
    );
  }
}

/** Waits for Ctrl-C; meanwhile the command line client of this folder finds the API by itself. */
async function keep(environment: DemoEnvironment): Promise<void> {
  mkdirSync(dirname(LOCAL_FILE), { recursive: true });
  writeFileSync(LOCAL_FILE, JSON.stringify(environment.access), { mode: 0o600 });
  const endpoint = new URL(environment.access.url).origin;
  console.error(
    [
      '',
      'All is kept running. In another terminal, in this folder:',
      '  hosts and history:  npx handoff hosts; npx handoff list',
      `  move it back:       npx handoff migrate ${environment.vm} --from ${environment.to} --to ${environment.from} --watch`,
      ...environment.hints.map((hint) => `  ${hint}`),
      `  with the AWS CLI:   AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region ${environment.access.region} --endpoint-url ${endpoint} stepfunctions list-state-machines`,
      '',
      'Ctrl-C brings all of it down.',
    ].join('\n'),
  );
  await new Promise<void>((resolve) => {
    const done = () => resolve();
    process.once('SIGINT', done);
    process.once('SIGTERM', done);
  });
  rmSync(LOCAL_FILE, { force: true });
  say('bringing it down');
}
