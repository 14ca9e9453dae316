import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { CommandContext } from './command-context.ts';
import { addAuditCommand } from './commands/audit.ts';
import { addEvacuationCommands } from './commands/evacuations.ts';
import { addForecastCommands } from './commands/forecast.ts';
import { addHostCommands } from './commands/hosts.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addMigrationCommands } from './commands/migrations.ts';
import { EXIT_CODES_HELP } from './exit-codes.ts';

/** The whole command line. docs/reference/cli.md is generated from it. */
export function buildProgram(): Command {
  const program = new Command('handoff')
    .description('Live-migrates KVM virtual machines between hosts, and shows the progress and the outcome.')
    .version(manifest.version)
    .option(
      '--api <url>',
      'URL of the API (the stack’s output ApiUrl); default: HANDOFF_API, then an embedded AWS that runs from this folder',
    )
    .option('--json', 'print the answer as JSON, and nothing else')
    .addHelpText(
      'after',
      `${EXIT_CODES_HELP}

AWS credentials come from the usual places: environment, profile, SSO.
Example: handoff --api https://abc123.execute-api.eu-central-1.amazonaws.com hosts`,
    )
    .exitOverride();
  const context = new CommandContext(program);
  addHostCommands(program, context);
  addForecastCommands(program, context);
  addMigrationCommands(program, context);
  addLogsCommand(program, context);
  addEvacuationCommands(program, context);
  addAuditCommand(program, context);
  return program;
}
