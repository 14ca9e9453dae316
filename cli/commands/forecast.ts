import type { Command } from 'commander';
import type { Calibration, MigrationView } from '../../contract/api.ts';
import type { ApiClient } from '../api-client.ts';
import type { CommandContext } from '../command-context.ts';
import { EXIT } from '../exit-codes.ts';
import { followMigration } from '../follow-migration.ts';
import { describeCalibration, describeForecast } from '../forecast-text.ts';
import { addHelp } from '../help.ts';
import { type PolicyOptions, policyOf, wholeNumber, withPolicyOptions } from '../policy-options.ts';

interface ForecastOptions extends PolicyOptions {
  to: string;
  from?: string;
}

/** `forecast`: what a migration would cost; and `calibration`: how far earlier forecasts were off. */
export function addForecastCommands(program: Command, context: CommandContext): void {
  addHelp(
    withPolicyOptions(
      program
        .command('forecast')
        .description(
          'Forecasts time, blackout and bytes of a migration, and whether its policy allows it. Moves nothing.',
        )
        .argument('<vm>', 'the libvirt domain’s name')
        .requiredOption('--to <host>', 'the host it would be moved to')
        .option('--from <host>', 'the host it runs on; default: where its last migration left it'),
    ),
    'forecast web01 --to rack4-kvm08 --blackout 200',
    'Exits with 0 when the VM would be moved, with 1 when it would be refused.',
  ).action(async (vm: string, { to, from, ...policy }: ForecastOptions) => {
    const api = await context.client();
    const source = from ?? (await lastHostOf(api, vm));
    const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
      body: { vm, source, destination: to, policy: policyOf(policy), forecastOnly: true },
    });
    const view = await followMigration(api, migrationId, context.onProgress());
    context.print(view, describeForecast(view));
    const allowed = view.status === 'FORECASTED' && (view.checks ?? []).every(({ passed }) => passed);
    process.exitCode = allowed ? EXIT.ok : EXIT.failed;
  });

  addHelp(
    program
      .command('calibration')
      .description('Shows how far the forecasts of past migrations were from their outcomes.')
      .option('--last <n>', 'of how many migrations, 1 to 100', wholeNumber, 100),
    'calibration --last 50',
  ).action(async ({ last }: { last: number }) => {
    const client = await context.client();
    const answer = await client.call<Calibration>('GET', '/calibration', { query: { last: String(last) } });
    context.print(answer, describeCalibration(answer));
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
