import type { Command } from 'commander';
import { table } from '../../common/text-table.ts';
import type { HostView } from '../../contract/api.ts';
import type { CommandContext } from '../command-context.ts';
import { addHelp } from '../help.ts';
import { wholeNumber } from '../policy-options.ts';

/** `hosts`, `register`, `uncordon` and `remove-host`. */
export function addHostCommands(program: Command, context: CommandContext): void {
  addHelp(
    program.command('hosts').description('Lists the hosts with their state, migration slots and reserved memory.'),
    'hosts',
  ).action(async () => {
    const { hosts } = await (await context.client()).call<{ hosts: HostView[] }>('GET', '/hosts');
    context.print(
      { hosts },
      hosts.length === 0 ? 'No hosts yet: register one with "handoff register".' : hostsTable(hosts),
    );
  });

  addRegisterCommand(program, context);

  addHelp(
    program
      .command('uncordon')
      .description('Lets a host that is cordoned or in maintenance accept VMs again.')
      .argument('<host>', 'the host’s name in Handoff'),
    'uncordon rack4-kvm07',
  ).action(async (host: string) => {
    const view = await (await context.client()).call<HostView>('POST', `/hosts/${encodeURIComponent(host)}/uncordon`);
    context.print(view, `${view.hostId} is ${view.state}.`);
  });

  addHelp(
    program
      .command('remove-host')
      .description('Removes a host that was emptied, or that is permanently gone.')
      .argument('<host>', 'the host’s name in Handoff')
      .option('--gone', 'the host will never come back, and neither will anything a migration left on it'),
    'remove-host rack4-kvm07',
    'The host must be cordoned, and no migration may hold anything on it. Records of past migrations stay.',
  ).action(async (host: string, { gone }: { gone?: true }) => {
    const view = await (await context.client()).call<HostView>('DELETE', `/hosts/${encodeURIComponent(host)}`, {
      ...(gone && { query: { gone: 'true' } }),
    });
    context.print(view, `${view.hostId} is removed. The records of its migrations stay.`);
  });
}

interface RegisterOptions {
  node: string;
  address: string;
  libvirt?: string;
  outgoing?: number;
  incoming?: number;
  cutovers?: number;
}

function addRegisterCommand(program: Command, context: CommandContext): void {
  addHelp(
    program
      .command('register')
      .description('Registers a host, or changes its registration.')
      .argument('<host>', 'its name in Handoff, such as rack4-kvm07')
      .requiredOption('--node <id>', 'its SSM managed node id (mi-...)')
      .requiredOption('--address <address>', 'its address on the migration network')
      .option('--libvirt <uri>', 'how the other hosts reach its libvirt; default: qemu+tcp://ADDRESS/system')
      .option('--outgoing <n>', 'most migrations that leave it at the same time; default: 2', wholeNumber)
      .option('--incoming <n>', 'most migrations that arrive at the same time; default: 2', wholeNumber)
      .option('--cutovers <n>', 'most cutovers at the same time; default: 1', wholeNumber),
    'register rack4-kvm07 --node mi-0123456789abcdef0 --address 10.0.0.7',
    'A limit that is not given is set to its default, also when the host was registered with another one.',
  ).action(async (hostId: string, { node, address, libvirt, outgoing, incoming, cutovers }: RegisterOptions) => {
    const host = await (await context.client()).call<HostView>('PUT', `/hosts/${encodeURIComponent(hostId)}`, {
      body: {
        nodeId: node,
        address,
        libvirtUri: libvirt ?? `qemu+tcp://${address}/system`,
        limits: {
          ...(outgoing !== undefined && { outgoing }),
          ...(incoming !== undefined && { incoming }),
          ...(cutovers !== undefined && { cutovers }),
        },
      },
    });
    context.print(host, `${host.hostId} is registered and ${host.state}.`);
  });
}

function hostsTable(hosts: readonly HostView[]): string {
  const rows = hosts.map((host) => [
    host.hostId,
    host.state,
    host.address,
    `${host.outgoing.length}/${host.limits.outgoing}`,
    `${host.incoming.length}/${host.limits.incoming}`,
    `${host.reservedMiB} MiB`,
  ]);
  return table([['HOST', 'STATE', 'ADDRESS', 'OUT', 'IN', 'RESERVED'], ...rows]);
}
