import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec, execText } from './node.ts';
import { addressOf, folderOf, type HostName, type LabPlan } from './plan.ts';
import { postCopyResumePreload } from './post-copy-resume-preload.ts';
import { until } from './until.ts';

const DAEMON_PID = 'run/libvirtd.pid';

/** Writes a host's configuration of libvirtd. */
export async function configureLibvirtd(plan: LabPlan, host: HostName): Promise<void> {
  await writeConfiguration(join(folderOf(plan, host), 'etc/libvirtd.conf'), {
    listen_tcp: 1,
    listen_tls: 0,
    auth_tcp: 'none',
    auth_unix_rw: 'none',
    unix_sock_group: 'root',
    // libvirt refuses to migrate between hosts with one UUID, and all here would have the machine's.
    host_uuid: randomUUID(),
    log_outputs: '3:file:/var/log/libvirt/libvirtd.log',
  });
  await writeConfiguration(join(folderOf(plan, host), 'etc/qemu.conf'), {
    user: 'root',
    group: 'root',
    // The node is a set of namespaces already; what libvirt would add needs the cgroups and users of a whole machine.
    namespaces: [],
    cgroup_controllers: [],
    security_driver: 'none',
    remember_owner: 0,
    // Without virtlogd.
    stdio_handler: 'file',
    migration_address: '0.0.0.0',
    migration_host: addressOf(plan, host),
  });
}

/** Starts libvirtd; it accepts connections when this resolves. */
export async function startLibvirtd(plan: LabPlan, host: HostName): Promise<void> {
  const library = await postCopyResumePreload();
  const preload = library === undefined ? [] : ['env', `LD_PRELOAD=${library}`];
  await execText(plan, host, [...preload, 'libvirtd', '--listen', '--daemon']);
}

/** Ends libvirtd (its guests run on) and waits until it is gone. */
export async function stopLibvirtd(
  plan: LabPlan,
  host: HostName,
  signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM',
): Promise<void> {
  const pid = await signalProcess(plan, host, DAEMON_PID, signal);
  await until(`libvirtd on ${host} ends`, async () => {
    const { exitCode } = await exec(plan, host, ['kill', '-0', pid]);
    return exitCode !== 0;
  });
}

/** Stops libvirtd or continues it: a stopped daemon accepts connections and does not answer. */
export async function signalLibvirtd(plan: LabPlan, host: HostName, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  await signalProcess(plan, host, DAEMON_PID, signal);
}

/** Sends a signal to a guest's QEMU; SIGKILL is a guest's sudden end. */
export async function signalQemu(
  plan: LabPlan,
  host: HostName,
  guest: string,
  signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL',
): Promise<void> {
  await signalProcess(plan, host, `run/libvirt/qemu/${guest}.pid`, signal);
}

/** Process ids in the file are the host's, so the signal is sent from there. */
async function signalProcess(plan: LabPlan, host: HostName, pidFile: string, signal: NodeJS.Signals): Promise<string> {
  const pid = (await readFile(join(folderOf(plan, host), pidFile), 'utf8')).trim();
  await execText(plan, host, ['kill', '-s', signal.slice('SIG'.length), pid]);
  return pid;
}

/** JSON's strings, numbers and lists of strings are written the same in libvirt's configuration files. */
async function writeConfiguration(path: string, settings: Record<string, unknown>): Promise<void> {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
  await writeFile(path, lines.join(''));
}
