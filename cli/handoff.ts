#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import type { AuditFinding, HostView, MigrationView } from '../contract/api.ts';
import { ApiClient, ApiProblem, findAccess, Unreachable } from './api-client.ts';
import { follow, getMigration, narrator } from './follow-migration.ts';
import { addForecastCommands } from './forecast.ts';
import { type PolicyOptions, policyOf, whole, withPolicy } from './policy-options.ts';
import { describe, duration, table } from './text.ts';

/** Exit codes, also shown by --help. */
const EXIT = { ok: 0, failed: 1, badInput: 2, unknown: 3, conflict: 4, unreachable: 5, needsOperator: 6 } as const;

const program = new Command('handoff')
  .description('Live-migrates KVM virtual machines between hosts, and shows how it goes.')
  .option(
    '--api <url>',
    'the API (the stack’s output ApiUrl); default: HANDOFF_API, then an embedded AWS of this folder',
  )
  .option('--json', 'print the answer as JSON, and nothing else')
  .addHelpText(
    'after',
    `
Exit codes: 0 done; 1 it ended otherwise than wished; 2 bad input; 3 unknown host or migration;
            4 in conflict with what is going on; 5 the API cannot be reached; 6 an operator is needed.
Credentials for AWS come from the usual places (environment, profile, SSO).`,
  )
  .exitOverride();

interface Global {
  api?: string;
  json?: boolean;
}
const client = async (): Promise<ApiClient> => new ApiClient(await findAccess(program.opts<Global>().api));
const print = (value: unknown, text: string): void =>
  console.log(program.opts<Global>().json ? JSON.stringify(value) : text);

program
  .command('hosts')
  .description('Lists the hosts, their state and what is moving.')
  .action(async () => {
    const { hosts } = await (await client()).call<{ hosts: HostView[] }>('GET', '/hosts');
    const rows = hosts.map((host) => [
      host.hostId,
      host.state,
      host.address,
      `${host.outgoing.length}/${host.limits.outgoing}`,
      `${host.incoming.length}/${host.limits.incoming}`,
      `${host.reservedMiB} MiB`,
    ]);
    print(
      { hosts },
      hosts.length === 0
        ? 'No hosts yet: register one with "handoff register".'
        : table([['HOST', 'STATE', 'ADDRESS', 'OUT', 'IN', 'PROMISED'], ...rows]),
    );
  });

program
  .command('register')
  .description('Registers a host, or changes its registration.')
  .argument('<host>', 'its name in Handoff, such as rack4-kvm07')
  .requiredOption('--node <id>', 'its SSM managed node id (mi-...)')
  .requiredOption('--address <address>', 'its address on the migration network')
  .option('--libvirt <uri>', 'how the other hosts reach its libvirt; default qemu+tcp://ADDRESS/system')
  .option('--outgoing <n>', 'migrations leaving at once', whole)
  .option('--incoming <n>', 'migrations arriving at once', whole)
  .option('--cutovers <n>', 'migrations switching at once', whole)
  .action(
    async (
      hostId: string,
      options: {
        node: string;
        address: string;
        libvirt?: string;
        outgoing?: number;
        incoming?: number;
        cutovers?: number;
      },
    ) => {
      const { outgoing, incoming, cutovers } = options;
      const host = await (await client()).call<HostView>('PUT', `/hosts/${encodeURIComponent(hostId)}`, {
        body: {
          nodeId: options.node,
          address: options.address,
          libvirtUri: options.libvirt ?? `qemu+tcp://${options.address}/system`,
          limits: {
            ...(outgoing !== undefined && { outgoing }),
            ...(incoming !== undefined && { incoming }),
            ...(cutovers !== undefined && { cutovers }),
          },
        },
      });
      print(host, `${host.hostId} is registered and ${host.state}.`);
    },
  );

withPolicy(
  program
    .command('migrate')
    .description('Moves one VM.')
    .argument('<vm>', 'the libvirt domain’s name')
    .requiredOption('--from <host>', 'the host it runs on')
    .requiredOption('--to <host>', 'the host to move it to')
    .option('--watch', 'follow it to its end')
    .option('--guest-address <ip>', 'where the guest answers, so that verify can look for it'),
)
  .option('--reason <text>', 'why, for the record')
  .option('--key <key>', 'Idempotency-Key: the same key never moves a VM twice')
  .action(
    async (
      vm: string,
      options: PolicyOptions & {
        from: string;
        to: string;
        watch?: boolean;
        guestAddress?: string;
        reason?: string;
        key?: string;
      },
    ) => {
      const api = await client();
      const policy = policyOf(options);
      const { guestAddress, reason } = options;
      const started = await api.call<{ migrationId: string; consoleUrl: string }>('POST', '/migrations', {
        body: {
          vm,
          source: options.from,
          destination: options.to,
          policy,
          ...(guestAddress && { guestAddress }),
          ...(reason && { reason }),
        },
        ...(options.key !== undefined && { headers: { 'idempotency-key': options.key } }),
      });
      if (!options.watch) {
        print(
          started,
          `Started ${started.migrationId}.\nFollow it: handoff show ${started.migrationId}, or ${started.consoleUrl}`,
        );
        return;
      }
      await watch(api, started.migrationId);
    },
  );

addForecastCommands(program, {
  client,
  print,
  seen: () => (program.opts<Global>().json === true ? () => {} : narrator(process.stderr)),
});

program
  .command('show')
  .description('Shows one migration, with its timeline.')
  .argument('<id>')
  .option('--watch', 'follow it to its end')
  .action(async (id: string, options: { watch?: boolean }) => {
    const api = await client();
    if (options.watch) return watch(api, id);
    const view = await getMigration(api, id);
    print(view, describe(view));
  });

program
  .command('list')
  .description('Lists migrations, newest first.')
  .addOption(new Option('--vm <name>').conflicts(['host', 'status']))
  .addOption(new Option('--host <host>').conflicts(['vm', 'status']))
  .addOption(new Option('--status <status>').conflicts(['vm', 'host']))
  .option('--limit <n>', 'how many, 1 to 100', whole, 25)
  .option('--next <token>', 'the page after this one')
  .action(async (options: { vm?: string; host?: string; status?: string; limit: number; next?: string }) => {
    const { vm, host, status, next } = options;
    const page = await (await client()).call<{ migrations: MigrationView[]; next?: string }>('GET', '/migrations', {
      query: {
        limit: String(options.limit),
        ...(vm && { vm }),
        ...(host && { host }),
        ...(status && { status }),
        ...(next && { next }),
      },
    });
    const rows = page.migrations.map((view) => [
      view.requestedAt.slice(0, 19).replace('T', ' '),
      view.migrationId,
      view.vm,
      `${view.source} -> ${view.destination}`,
      view.status,
      view.result === undefined ? '' : duration(view.result.totalMs),
    ]);
    const text =
      rows.length === 0
        ? 'No migrations.'
        : table([['REQUESTED', 'ID', 'VM', 'FROM -> TO', 'STATUS', 'TOOK'], ...rows]);
    print(page, page.next === undefined ? text : `${text}\nMore: --next ${page.next}`);
  });

program
  .command('cancel')
  .description('Cancels a migration that has not been handed over yet; the VM stays where it is.')
  .argument('<id>')
  .action(async (id: string) => {
    const answer = await (await client()).call<{ status: string }>(
      'POST',
      `/migrations/${encodeURIComponent(id)}/cancel`,
    );
    print(
      answer,
      answer.status === 'CANCELLED'
        ? `${id} is cancelled.`
        : `${id} is being cancelled; see: handoff show ${id} --watch`,
    );
  });

program
  .command('cutover')
  .description('Tells a migration that waits for the word (policy --cutover manual) to switch.')
  .argument('<id>')
  .action(async (id: string) => {
    const answer = await (await client()).call<{ status: string }>(
      'POST',
      `/migrations/${encodeURIComponent(id)}/cutover`,
    );
    print(answer, `${id} switches as soon as its copy is held; see: handoff show ${id} --watch`);
  });

program
  .command('resolve')
  .description('Settles a migration that needs an operator, who has looked and says who owns the VM.')
  .argument('<id>')
  .addOption(
    new Option('--owner <side>', 'the side that owns the VM').choices(['source', 'destination']).makeOptionMandatory(),
  )
  .requiredOption('--reason <text>', 'how you know, for the record')
  .option('--watch', 'follow it to its end')
  .addHelpText(
    'after',
    '\nYour word stands in for a host that does not answer. It is refused where a host proves otherwise.',
  )
  .action(async (id: string, { owner, reason, watch: follows }: { owner: string; reason: string; watch?: boolean }) => {
    const api = await client();
    const answer = await api.call('POST', `/migrations/${encodeURIComponent(id)}/resolve`, { body: { owner, reason } });
    if (follows) return watch(api, id);
    print(answer, `${id} is taken up again; see: handoff show ${id} --watch`);
  });

program
  .command('audit')
  .description('Looks for locks, slots, memory and commit records that are held although nobody needs them.')
  .option('--repair', 'give back what is proven to be left over')
  .action(async (options: { repair?: boolean }) => {
    const { findings } = await (await client()).call<{ findings: AuditFinding[] }>('POST', '/audit', {
      body: { repair: options.repair === true },
    });
    const rows = findings.map(({ resource, of, owner, why, outcome }) => [resource, of, owner, outcome, why]);
    print(
      { findings },
      rows.length === 0 ? 'Nothing is left over.' : table([['WHAT', 'OF', 'OWNER', 'OUTCOME', 'WHY'], ...rows]),
    );
    if (findings.some(({ outcome }) => outcome === 'reported')) process.exitCode = EXIT.failed;
  });

withPolicy(
  program
    .command('evacuate')
    .description('Empties a host: cordons it and moves every VM away. No VM is ever stopped.')
    .argument('<host>'),
)
  .option('--watch', 'follow it to its end')
  .option('--reason <text>', 'why, for the record')
  .action(async (host: string, options: PolicyOptions & { watch?: boolean; reason?: string }) => {
    const api = await client();
    const started = await api.call<{ evacuationId: string; consoleUrl: string }>(
      'POST',
      `/hosts/${encodeURIComponent(host)}/evacuate`,
      {
        body: { policy: policyOf(options), ...(options.reason && { reason: options.reason }) },
      },
    );
    if (options.watch) return watchEvacuation(api, started.evacuationId);
    print(
      started,
      `Started ${started.evacuationId}; ${host} takes no more VMs.\nFollow it: handoff evacuation ${started.evacuationId} --watch, or ${started.consoleUrl}`,
    );
  });

program
  .command('evacuation')
  .description('Shows how an evacuation goes or went.')
  .argument('<id>')
  .option('--watch', 'follow it to its end')
  .action(async (id: string, options: { watch?: boolean }) => {
    const api = await client();
    if (options.watch) return watchEvacuation(api, id);
    const view = await getEvacuation(api, id);
    print(view, describeEvacuation(view));
  });

program
  .command('uncordon')
  .description('Puts a host back into use.')
  .argument('<host>')
  .action(async (host: string) => {
    const view = await (await client()).call<HostView>('POST', `/hosts/${encodeURIComponent(host)}/uncordon`);
    print(view, `${view.hostId} is ${view.state}.`);
  });

program
  .command('remove-host')
  .description('Takes a host that was emptied, or is gone, out of use for good.')
  .argument('<host>')
  .option('--gone', 'it will never be back, with whatever migrations may have left there')
  .action(async (host: string, { gone }: { gone?: true }) => {
    const view = await (await client()).call<HostView>('DELETE', `/hosts/${encodeURIComponent(host)}`, {
      ...(gone && { query: { gone: 'true' } }),
    });
    print(view, `${view.hostId} is removed. What was recorded of its migrations stays.`);
  });

async function watch(api: ApiClient, migrationId: string): Promise<void> {
  const quiet = program.opts<Global>().json === true;
  const view = await follow(api, migrationId, quiet ? () => {} : narrator(process.stderr));
  print(view, describe(view));
  process.exitCode =
    view.status === 'SUCCEEDED' ? EXIT.ok : view.status === 'NEEDS_OPERATOR' ? EXIT.needsOperator : EXIT.failed;
}

interface EvacuationView {
  evacuationId: string;
  status: string;
  result?: { moved?: { vm: string; to: string }[]; stays?: { vm: string; why: string }[]; duplicateOf?: string };
  failure?: { code: string; message: string };
  consoleUrl: string;
}
const getEvacuation = (api: ApiClient, id: string): Promise<EvacuationView> =>
  api.call('GET', `/evacuations/${encodeURIComponent(id)}`);

async function watchEvacuation(api: ApiClient, id: string): Promise<void> {
  let view = await getEvacuation(api, id);
  while (view.status === 'RUNNING') {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    view = await getEvacuation(api, id);
  }
  print(view, describeEvacuation(view));
  process.exitCode = view.status === 'SUCCEEDED' ? EXIT.ok : EXIT.failed;
}

function describeEvacuation(view: EvacuationView): string {
  return [
    `${view.evacuationId}: ${view.status}`,
    ...(view.result?.duplicateOf ? [`  at work already: ${view.result.duplicateOf}`] : []),
    ...(view.result?.moved ?? []).map(({ vm, to }) => `  moved  ${vm} -> ${to}`),
    ...(view.result?.stays ?? []).map(({ vm, why }) => `  stays  ${vm} ${why}`),
    ...(view.failure === undefined ? [] : [`  ${view.failure.code}: ${view.failure.message}`]),
    `  console  ${view.consoleUrl}`,
  ].join('\n');
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
  if (error instanceof ApiProblem) {
    return (
      { 400: EXIT.badInput, 422: EXIT.badInput, 404: EXIT.unknown, 409: EXIT.conflict }[error.problem.status] ??
      EXIT.failed
    );
  }
  return error instanceof Unreachable ? EXIT.unreachable : EXIT.failed;
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
  // Commander has said what is wrong itself.
  if (!(error instanceof CommanderError)) {
    const problem =
      error instanceof ApiProblem ? error.problem : { code: (error as Error).name, detail: (error as Error).message };
    if (program.opts<Global>().json) console.log(JSON.stringify(problem));
    else {
      console.error(`handoff: ${problem.code}: ${problem.detail}`);
      for (const { field, message } of 'errors' in problem ? (problem.errors ?? []) : [])
        console.error(`  ${field}: ${message}`);
    }
  }
}
