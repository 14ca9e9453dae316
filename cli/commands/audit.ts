import type { Command } from 'commander';
import { table } from '../../common/text-table.ts';
import type { AuditFinding } from '../../contract/api.ts';
import type { CommandContext } from '../command-context.ts';
import { EXIT } from '../exit-codes.ts';
import { addHelp } from '../help.ts';

export function addAuditCommand(program: Command, context: CommandContext): void {
  addHelp(
    program
      .command('audit')
      .description('Lists locks, slots, reservations and commit records nobody needs any more, and pending cleanups.')
      .option('--repair', 'release what is proven to be left over'),
    'audit --repair',
    'Exits with 1 when a finding remains: its owner is unknown, or a host still has to be cleaned up.',
  ).action(async (options: { repair?: boolean }) => {
    const { findings } = await (await context.client()).call<{ findings: AuditFinding[] }>('POST', '/audit', {
      body: { repair: options.repair === true },
    });
    const rows = findings.map(({ resource, of, owner, why, outcome }) => [resource, of, owner, outcome, why]);
    context.print(
      { findings },
      rows.length === 0 ? 'Nothing is left over.' : table([['RESOURCE', 'OF', 'OWNER', 'OUTCOME', 'WHY'], ...rows]),
    );
    if (findings.some(({ outcome }) => outcome === 'reported')) process.exitCode = EXIT.failed;
  });
}
