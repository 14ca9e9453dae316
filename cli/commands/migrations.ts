import { type Command, Option } from 'commander';
import { table } from '../../common/text-table.ts';
import { MigrationStatus, type MigrationView } from '../../contract/api.ts';
import { Role } from '../../contract/names.ts';
import type { ApiClient } from '../api-client.ts';
import type { CommandContext } from '../command-context.ts';
import { EXIT } from '../exit-codes.ts';
import { followMigration, getMigration } from '../follow-migration.ts';
import { addHelp } from '../help.ts';
import { describeMigration } from '../migration-text.ts';
import { type PolicyOptions, policyOf, wholeNumber, withPolicyOptions } from '../policy-options.ts';
import { duration } from '../text.ts';

const ID = ['<id>', 'the migration’s id, such as web01-5f2c9a7be1'] as const;
const WATCH = ['--watch', 'follow it until it has ended'] as const;

/** `migrate`, `show`, `list`, `cancel`, `cutover` and `resolve`. */
export function addMigrationCommands(program: Command, context: CommandContext): void {
  addMigrateCommand(program, context);

  addHelp(
    program
      .command('show')
      .description('Shows one migration with its timeline.')
      .argument(...ID)
      .option(...WATCH),
    'show web01-5f2c9a7be1 --watch',
  ).action(async (id: string, { watch }: { watch?: boolean }) => {
    const api = await context.client();
    if (watch) return followToEnd(context, api, id);
    const view = await getMigration(api, id);
    context.print(view, describeMigration(view));
  });

  addListCommand(program, context);

  addHelp(
    program
      .command('cancel')
      .description('Cancels a migration whose handover is not committed yet; the VM stays on its source.')
      .argument(...ID),
    'cancel web01-5f2c9a7be1',
  ).action(async (id: string) => {
    const answer = await post<{ status: string }>(context, id, 'cancel');
    context.print(
      answer,
      answer.status === 'CANCELLED'
        ? `${id} is cancelled.`
        : `${id} is being cancelled; follow it: handoff show ${id} --watch`,
    );
  });

  addHelp(
    program
      .command('cutover')
      .description('Requests the cutover of a migration that was started with --cutover manual.')
      .argument(...ID),
    'cutover web01-5f2c9a7be1',
    'It may be requested before the copy is held: the VM then switches as soon as it is.',
  ).action(async (id: string) => {
    const answer = await post<{ status: string }>(context, id, 'cutover');
    context.print(answer, `${id} switches as soon as its copy is held; follow it: handoff show ${id} --watch`);
  });

  addResolveCommand(program, context);
}

interface MigrateOptions extends PolicyOptions {
  from: string;
  to: string;
  watch?: boolean;
  guestAddress?: string;
  reason?: string;
  key?: string;
}

function addMigrateCommand(program: Command, context: CommandContext): void {
  addHelp(
    withPolicyOptions(
      program
        .command('migrate')
        .description('Live-migrates one VM.')
        .argument('<vm>', 'the libvirt domain’s name')
        .requiredOption('--from <host>', 'the host it runs on')
        .requiredOption('--to <host>', 'the host to move it to')
        .option(...WATCH)
        .option('--guest-address <ip>', 'the guest’s IP address, at which both hosts measure the blackout'),
    )
      .option('--reason <text>', 'why, for the record')
      .option('--key <key>', 'Idempotency-Key: a repeated request with the same key starts no second migration'),
    'migrate web01 --from rack4-kvm07 --to rack4-kvm08 --watch',
    'See what it would cost first: handoff forecast. With --watch, the exit code says how it ended.',
  ).action(async (vm: string, { from, to, guestAddress, reason, key, watch, ...policy }: MigrateOptions) => {
    const api = await context.client();
    const started = await api.call<{ migrationId: string; consoleUrl: string }>('POST', '/migrations', {
      body: {
        vm,
        source: from,
        destination: to,
        policy: policyOf(policy),
        ...(guestAddress && { guestAddress }),
        ...(reason && { reason }),
      },
      ...(key !== undefined && { headers: { 'idempotency-key': key } }),
    });
    if (watch) return followToEnd(context, api, started.migrationId);
    context.print(
      started,
      `Started ${started.migrationId}.\nFollow it: handoff show ${started.migrationId} --watch, or ${started.consoleUrl}`,
    );
  });
}

interface ListOptions {
  vm?: string;
  host?: string;
  status?: string;
  limit: number;
  next?: string;
}

function addListCommand(program: Command, context: CommandContext): void {
  addHelp(
    program
      .command('list')
      .description('Lists migrations, newest first.')
      .addOption(new Option('--vm <name>', 'only those of one VM').conflicts(['host', 'status']))
      .addOption(new Option('--host <host>', 'only those from or to one host').conflicts(['vm', 'status']))
      .addOption(
        new Option('--status <status>', `only those with one status: ${MigrationStatus.options.join(', ')}`).conflicts([
          'vm',
          'host',
        ]),
      )
      .option('--limit <n>', 'how many, 1 to 100', wholeNumber, 25)
      .option('--next <token>', 'the next page; the answer to the same list gives the token'),
    'list --status NEEDS_OPERATOR',
  ).action(async ({ vm, host, status, limit, next }: ListOptions) => {
    const page = await (await context.client()).call<{ migrations: MigrationView[]; next?: string }>(
      'GET',
      '/migrations',
      {
        query: {
          limit: String(limit),
          ...(vm && { vm }),
          ...(host && { host }),
          ...(status && { status }),
          ...(next && { next }),
        },
      },
    );
    const text = page.migrations.length === 0 ? 'No migrations.' : migrationsTable(page.migrations);
    context.print(page, page.next === undefined ? text : `${text}\nMore: --next ${page.next}`);
  });
}

function migrationsTable(migrations: readonly MigrationView[]): string {
  const rows = migrations.map((view) => [
    view.requestedAt.slice(0, 19).replace('T', ' '),
    view.migrationId,
    view.vm,
    `${view.source} -> ${view.destination}`,
    view.status,
    view.result === undefined ? '' : duration(view.result.totalMs),
  ]);
  return table([['REQUESTED', 'ID', 'VM', 'FROM -> TO', 'STATUS', 'TOOK'], ...rows]);
}

interface ResolveOptions {
  owner: string;
  reason: string;
  watch?: boolean;
}

function addResolveCommand(program: Command, context: CommandContext): void {
  addHelp(
    program
      .command('resolve')
      .description('Settles a migration that needs an operator: states which side owns the VM.')
      .argument(...ID)
      .addOption(
        new Option('--owner <side>', 'the side on which you found the VM').choices(Role.options).makeOptionMandatory(),
      )
      .requiredOption('--reason <text>', 'how you know, for the record')
      .option(...WATCH),
    'resolve web01-5f2c9a7be1 --owner destination --reason "virsh list on rack4-kvm08 shows it running"',
    'Your statement stands in for a host that does not answer. It is refused where a host proves otherwise.',
  ).action(async (id: string, { owner, reason, watch }: ResolveOptions) => {
    const api = await context.client();
    const answer = await post<object>(context, id, 'resolve', { owner, reason });
    if (watch) return followToEnd(context, api, id);
    context.print(answer, `Recovery of ${id} continues; follow it: handoff show ${id} --watch`);
  });
}

async function post<T>(
  context: CommandContext,
  id: string,
  action: 'cancel' | 'cutover' | 'resolve',
  body?: object,
): Promise<T> {
  const api = await context.client();
  return api.call<T>('POST', `/migrations/${encodeURIComponent(id)}/${action}`, { ...(body && { body }) });
}

/** Follows a migration; its status becomes the exit code. */
async function followToEnd(context: CommandContext, api: ApiClient, migrationId: string): Promise<void> {
  const view = await followMigration(api, migrationId, context.onProgress());
  context.print(view, describeMigration(view));
  process.exitCode =
    view.status === 'SUCCEEDED' ? EXIT.ok : view.status === 'NEEDS_OPERATOR' ? EXIT.needsOperator : EXIT.failed;
}
