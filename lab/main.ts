import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { destroyGuest, guestStatus, startGuest } from './guest/guests.ts';
import { installLab } from './hosts/install.ts';
import { downLab, labStatus, openLab, upLab } from './hosts/lab.ts';
import { exec } from './hosts/node.ts';
import type { HostName, NodeName } from './hosts/plan.ts';

interface Options {
  name: string;
  json?: true;
}

interface GuestFlags {
  memory: number;
  dirty: number;
  workingSet?: number;
}

const program = new Command('lab')
  .version(manifest.version)
  .description('Two KVM hosts on this machine, with libvirt and QEMU as they are: for tests, demos and benchmarks.')
  .option('--name <name>', 'the name of the lab; it is kept until it is taken down', 'lab')
  .option('--json', 'answer in JSON')
  .showHelpAfterError();

program
  .command('install')
  .description('install what the lab needs and this machine lacks (Debian, root)')
  .action(() => installLab((line) => process.stderr.write(`${line}\n`)));

program
  .command('up')
  .description('bring the lab up, removing what an earlier one left')
  .option('--subnet <numbers>', 'the first three numbers of its /24 network, instead of one that is free')
  .option('--hosts <count>', 'how many hosts', Number, 2)
  .action(async ({ subnet, hosts }: { subnet?: string; hosts: number }) => {
    await upLab({ name: common().name, hosts, ...(subnet !== undefined && { subnet }) });
    await printStatus();
  });

program
  .command('down')
  .description('end the lab and everything in it')
  .action(() => downLab(common().name));

program.command('status').description('show the hosts, how to reach them, and their guests').action(printStatus);

program
  .command('guest')
  .description('start a guest and wait until it has booted')
  .argument('<host>', 'such as kvm1')
  .argument('<guest>', 'its name')
  .argument('[number]', 'the last number of its address, from 101', Number, 101)
  .option('--memory <MiB>', 'its memory', Number, 512)
  .option('--dirty <MiB/s>', 'how fast it dirties memory', Number, 20)
  .option('--working-set <MiB>', 'over how much memory', Number)
  .action(async (host: HostName, name: string, number: number, options: GuestFlags) => {
    const lab = await openLab(common().name);
    const address = `${lab.subnet}.${number}`;
    const workingSet = options.workingSet === undefined ? {} : { workingSetMiB: options.workingSet };
    await startGuest(lab, host, { name, address, memoryMiB: options.memory, dirtyMiBps: options.dirty, ...workingSet });
    const status = await guestStatus(address);
    print({ address, ...status }, [`${name} runs on ${host} at ${address}\n`]);
  });

program
  .command('destroy')
  .description('end a guest, wherever it runs')
  .argument('<guest>', 'its name')
  .action(async (name: string) => destroyGuest(await openLab(common().name), name));

program
  .command('exec')
  .description('run a command on a node (kvm1, kvm2, ..., client, rack): lab exec kvm1 -- virsh list')
  .argument('<node>', 'where')
  .argument('<command...>', 'what')
  .action(async (node: NodeName, argv: string[]) => {
    const { exitCode, stdout, stderr } = await exec(await openLab(common().name), node, argv);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exitCode;
  });

function common(): Options {
  return program.opts<Options>();
}

async function printStatus(): Promise<void> {
  const hosts = await labStatus(await openLab(common().name));
  print(
    hosts,
    hosts.map(({ host, address, pid, libvirtUri, libvirtSocket, guests }) => {
      const states = guests === undefined ? 'libvirtd does not answer' : Object.entries(guests).map((g) => g.join(' '));
      return `${host}  ${address}  init ${pid ?? 'gone'}\n  ${libvirtUri}\n  ${libvirtSocket}\n  guests: ${states}\n`;
    }),
  );
}

function print(answer: object, text: readonly string[]): void {
  process.stdout.write(common().json ? `${JSON.stringify(answer)}\n` : text.join(''));
}

try {
  await program.parseAsync();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(common().json ? `${JSON.stringify({ error: message })}\n` : `lab: ${message}\n`);
  process.exitCode = 1;
}
