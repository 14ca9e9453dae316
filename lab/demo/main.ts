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
  .description('Live-migrates a VM between two hosts on this machine, through the API, and shows what the move cost.')
  .option('--json', 'print the result as one JSON object on the last line')
  .option('--keep', 'keep everything running afterwards, and print commands to try')
  .option('--simulated', 'use simulated hosts even where the lab could run')
  .parse();
const options = program.opts<{ json?: true; keep?: true; simulated?: true }>();
const log = (line: string): void => console.error(`- ${line}`);

const environment = await open();
try {
  const outcome = await migrate(environment);
  report(environment, outcome);
  process.exitCode = outcome.view.status === 'SUCCEEDED' ? 0 : 1;
  if (options.keep) await keepRunning(environment);
} finally {
  await environment.close();
}

async function open(): Promise<DemoEnvironment> {
  const support = machineSupport();
  if (support.able && !options.simulated) return openLabEnvironment(log);
  if (!support.able) log(`no real hosts on this machine: ${support.reason}`);
  log('hosts and guest are SIMULATED; the control plane and the agents are the real ones');
  return openSimulatedEnvironment(log);
}

async function migrate({
  api,
  vm,
  from,
  to,
  guestAddress,
  observe,
}: DemoEnvironment): Promise<{ view: MigrationView; seen: Observation }> {
  const observation = await observe();
  log(`requesting the migration: ${vm}, ${from} -> ${to}`);
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
    body: { vm, source: from, destination: to, reason: 'demo', ...(guestAddress && { guestAddress }) },
  });
  const view = await followMigration(api, migrationId, progressPrinter(process.stderr), 100);
  // The clients keep measuring for a moment after the switch.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return { view, seen: await observation.stop() };
}

function report(environment: DemoEnvironment, { view, seen }: { view: MigrationView; seen: Observation }): void {
  const time = (ms: number | undefined): string => (ms === undefined ? 'not measured' : duration(ms));
  const verdict = (intact: boolean | undefined, broken: string): string =>
    intact === undefined ? 'not measured' : intact ? 'intact' : broken;
  const simulated = environment.hypervisor === 'simulated';
  const rows = [
    ['VM', view.vm],
    ['was on', view.source],
    ['is on', view.runsOn ?? 'unknown'],
    ['status', view.status],
    ['request to result', time(view.result?.totalMs)],
    [simulated ? 'downtime, simulated' : 'downtime, by QEMU', time(view.result?.downtimeMs)],
  ];
  if (!simulated) {
    rows.push(
      ['blackout, by pings from a third machine', time(seen.blackoutMs)],
      ['longest silence on the TCP connection', time(seen.tcpLongestGapMs)],
      ['TCP connection', verdict(seen.tcpIntact, 'BROKEN')],
      ['bytes lost', seen.bytesLost === undefined ? 'not measured' : String(seen.bytesLost)],
      ["guest's memory and disk", verdict(seen.guestIntact, 'DAMAGED')],
    );
  }
  console.log(`\n${table(rows)}`);
  if (view.failure) console.log(`\n${view.failure.code}: ${view.failure.message}`);
  if (simulated)
    console.log('\nThe times are simulated: no real guest was migrated, and nothing was measured from outside.');
  if (!options.keep) {
    console.log(
      `\nNext: "npm run demo -- ${options.simulated ? '--simulated ' : ''}--keep" keeps it running, to try "npx handoff"; read on in docs/README.md.`,
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

/** Waits for Ctrl-C. Meanwhile "npx handoff" in this folder finds the API without options. */
async function keepRunning(environment: DemoEnvironment): Promise<void> {
  mkdirSync(dirname(LOCAL_FILE), { recursive: true });
  writeFileSync(LOCAL_FILE, JSON.stringify(environment.access), { mode: 0o600 });
  const endpoint = new URL(environment.access.url).origin;
  console.error(
    [
      '',
      'Everything keeps running. In another terminal, in this folder:',
      '  hosts and history:  npx handoff hosts; npx handoff list',
      `  move it back:       npx handoff migrate ${environment.vm} --from ${environment.to} --to ${environment.from} --watch`,
      ...environment.hints.map((hint) => `  ${hint}`),
      `  with the AWS CLI:   AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws --region ${environment.access.region} --endpoint-url ${endpoint} stepfunctions list-state-machines`,
      '',
      'Ctrl-C ends it all.',
    ].join('\n'),
  );
  await new Promise<void>((resolve) => {
    const done = () => resolve();
    process.once('SIGINT', done);
    process.once('SIGTERM', done);
  });
  rmSync(LOCAL_FILE, { force: true });
  log('shutting down');
}
