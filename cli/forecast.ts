import type { Command } from 'commander';
import type { Calibration, MigrationView } from '../contract/api.ts';
import type { ApiClient } from './api-client.ts';
import { follow } from './follow-migration.ts';
import { describeCalibration, describeForecast } from './forecast-text.ts';
import { type PolicyOptions, policyOf, whole, withPolicy } from './policy-options.ts';

interface Tools {
  client(): Promise<ApiClient>;
  print(value: unknown, text: string): void;
  /** Told of each look at the migration while it is followed. */
  seen(): (view: MigrationView) => void;
}

/** Adds `forecast` and `calibration`: what a move would cost, and how good such words were. */
export function addForecastCommands(program: Command, { client, print, seen }: Tools): void {
  withPolicy(
    program
      .command('forecast')
      .description('Says what moving a VM would cost, and whether the policy allows it. Measures, and moves nothing.')
      .argument('<vm>', 'the libvirt domain’s name')
      .requiredOption('--to <host>', 'the host it would be moved to')
      .option('--from <host>', 'the host it runs on; default: where its last migration left it'),
  )
    .addHelpText('after', '\nExits with 0 when the VM would be moved, with 1 when it would be refused.')
    .action(async (vm: string, options: PolicyOptions & { to: string; from?: string }) => {
      const api = await client();
      const source = options.from ?? (await lastHostOf(api, vm));
      const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
        body: { vm, source, destination: options.to, policy: policyOf(options), forecastOnly: true },
      });
      const view = await follow(api, migrationId, seen());
      print(view, describeForecast(view));
      const allowed = view.status === 'FORECASTED' && (view.checks ?? []).every(({ passed }) => passed);
      process.exitCode = allowed ? 0 : 1;
    });

  program
    .command('calibration')
    .description('Shows how far forecasts were from what migrations came to.')
    .option('--last <n>', 'of how many migrations, 1 to 100', whole, 100)
    .action(async ({ last }: { last: number }) => {
      const answer = await (await client()).call<Calibration>('GET', '/calibration', { query: { last: String(last) } });
      print(answer, describeCalibration(answer));
    });
}

async function lastHostOf(api: ApiClient, vm: string): Promise<string> {
  const { migrations } = await api.call<{ migrations: MigrationView[] }>('GET', '/migrations', {
    query: { vm, limit: '25' },
  });
  const host = migrations.find(({ runsOn }) => runsOn !== undefined)?.runsOn;
  if (host === undefined)
    throw new Error(`Handoff has not moved ${vm} yet and does not know where it runs: give --from.`);
  return host;
}
