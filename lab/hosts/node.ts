/**
 * A lab node is a set of Linux namespaces (network, mount, UTS, PID) held by its init process, and nothing else.
 *
 * So the kernel does the cleaning: when init is killed every process of the node is, and with the last of them go its
 * mounts, its interfaces and their other ends. A node is found by init's command line, never by a file: its
 * nodes can be found and ended even when the process that brought the lab up was killed.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Outcome, outcomeOf, type RunOptions, run } from '../command.ts';
import { folderOf, type LabPlan, type NodeName } from './plan.ts';
import { until } from './until.ts';

/** What finds the nodes of a lab. */
type LabId = Pick<LabPlan, 'name' | 'folder'>;

const MARK = 'handoff-lab-node';

/** Each node has these to itself, from its folder; all else is the machine's. */
const OWN_FOLDERS = {
  run: '/run',
  etc: '/etc/libvirt',
  lib: '/var/lib/libvirt',
  log: '/var/log/libvirt',
  cache: '/var/cache/libvirt',
};

/**
 * Run by bash as the node's process 1. Adopted orphans (every QEMU is one) must be reaped, as libvirt takes a zombie for a
 * process that will not die; `wait` does that. /proc and /sys are mounted anew to show the node's own processes and interfaces.
 */
const INIT = `
set -eu
folder=$1 node=$2
hostname "$node"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
ip link set lo up
mount --bind "$folder/hosts" /etc/hosts
${Object.entries(OWN_FOLDERS)
  .reverse() // /run last: it hides the folder
  .map(([own, path]) => `mount --bind "$folder/$node/${own}" ${path}`)
  .join('\n')}
echo ready
exec </dev/null >/dev/null 2>&1
set +e
while :; do sleep infinity & wait; done
`;

/** Starts a node and returns init's process id. Its network has no interface but `lo` yet. */
export async function startNode(plan: LabPlan, node: NodeName): Promise<number> {
  for (const own of Object.keys(OWN_FOLDERS)) await mkdir(join(folderOf(plan, node), own), { recursive: true });
  const namespaces = ['--net', '--mount', '--uts', '--pid', '--fork'];
  const child = spawn('unshare', [...namespaces, 'bash', '-c', INIT, MARK, plan.folder, node], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      reject(new Error(`node ${node} did not start (exit code ${code}): ${stderr.trim()}`)),
    );
    child.stdout.once('data', () => resolve());
  });
  child.removeAllListeners('close');
  child.stdout.destroy();
  child.stderr.destroy();
  child.unref();
  return nodePid(plan, node);
}

/** Init's process id, as the machine counts. */
export function nodePid(plan: LabId, node: NodeName): number {
  const pid = runningNodes(plan).get(node);
  if (pid === undefined) throw new Error(`lab "${plan.name}" has no running node ${node}: bring the lab up first`);
  return pid;
}

/** The nodes that run, with the process id of their init. */
export function runningNodes(plan: LabId): Map<NodeName, number> {
  return new Map(marked(plan).flatMap(({ pid, node, init }) => (init ? [[node, pid]] : [])));
}

/** A process that was killed as it started a node leaves a child that takes this long, on a busy machine, to show what it is. */
const QUIET_MS = 100;

/** Kills every node with all its processes, also nodes that another process started; returns when they are gone. */
export async function killNodes(plan: LabId): Promise<void> {
  let since = performance.now();
  await until('the killed nodes are gone', () => {
    // Again and again: an unshare that was about to fork when it was found has a child by now.
    const left = marked(plan);
    for (const { pid } of left) kill(pid, 'SIGKILL');
    if (left.length > 0) since = performance.now();
    return performance.now() - since > QUIET_MS;
  });
}

/** Runs a command on a node, as root, with the environment a service there would have plus `env`. */
export function exec(
  plan: LabPlan,
  node: NodeName,
  argv: readonly string[],
  options: Omit<RunOptions, 'cwd'> = {},
): Promise<Outcome> {
  return outcomeOf(enter(plan, node, argv), { ...options, env: environment(options.env) });
}

/** As exec, but rejects with a CommandError when the command fails; returns what it wrote. */
export function execText(
  plan: LabPlan,
  node: NodeName,
  argv: readonly string[],
  options: Omit<RunOptions, 'cwd'> = {},
): Promise<string> {
  return run(enter(plan, node, argv), { ...options, env: environment(options.env) });
}

/** The command line that runs `argv` on a node. */
export function enter(plan: LabPlan, node: NodeName, argv: readonly string[]): string[] {
  return ['nsenter', `--target=${nodePid(plan, node)}`, '--net', '--mount', '--uts', '--pid', '--', ...argv];
}

/** Nothing is inherited: what is set where the lab is driven from must not reach the hosts. */
export function environment(extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: '/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    AWS_SHARED_CREDENTIALS_FILE: '/run/aws/credentials',
    // In the host's own folder, beside libvirt's logs.
    HANDOFF_LOG_FILE: '/var/log/libvirt/handoff-agent.jsonl',
    ...extra,
  };
}

interface Marked {
  pid: number;
  node: NodeName;
  /** Process 1 of its PID namespace, and not the unshare that waits for it. */
  init: boolean;
}

/** The processes of this lab that have the mark on their command line. */
function marked(plan: LabId): Marked[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry): Marked[] => {
      const argv = read(`/proc/${entry}/cmdline`).split('\0');
      const at = argv.indexOf(MARK);
      if (at === -1 || argv[at + 1] !== plan.folder) return [];
      const init = /^NSpid:.*\t1$/m.test(read(`/proc/${entry}/status`));
      return [{ pid: Number(entry), node: argv[at + 2] as NodeName, init }];
    });
}

/** Empty when the process has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
