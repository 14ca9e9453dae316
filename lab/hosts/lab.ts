import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestImage, guestImage } from '../guest-image/image.ts';
import { configureLibvirtd, startLibvirtd } from './libvirtd.ts';
import { connectNodes, removeUplink } from './network.ts';
import { exec, killNodes, runningNodes, startNode } from './node.ts';
import {
  addressOf,
  folderOf,
  type HostName,
  type LabOptions,
  type LabPlan,
  labFile,
  labFolder,
  libvirtSocketOf,
  libvirtUriOf,
  nodesOf,
  uplinkOf,
} from './plan.ts';
import { claimLab, releaseLab } from './subnets.ts';

/** A lab that is up. */
export interface Lab extends LabPlan {
  /** What its guests boot from. */
  readonly image: GuestImage;
}

/**
 * Brings a lab up from nothing, on a subnet and with a name of its own (see `LabOptions`). What earlier labs left behind that nobody
 * needs any more is removed first; what cannot be brought up whole is taken down again.
 */
export async function upLab(options: LabOptions = {}): Promise<Lab> {
  const image = await guestImage();
  const plan = await claimLab(options, remove);
  const lab: Lab = { ...plan, image };
  try {
    await mkdir(plan.folder, { recursive: true });
    await writeFile(join(plan.folder, 'hosts'), hostsFile(plan));
    for (const node of nodesOf(plan)) await startNode(plan, node);
    await connectNodes(plan);
    await Promise.all(
      plan.hosts.map(async (host) => {
        await configureLibvirtd(plan, host);
        await startLibvirtd(plan, host);
      }),
    );
    // Written last: a lab that has it is whole.
    await writeFile(labFile(plan), JSON.stringify(lab, undefined, 2));
    return lab;
  } catch (error) {
    await downLab(plan.name);
    throw error;
  }
}

/** A lab brought up by another process. Rejects when it is not up. */
export async function openLab(name: string): Promise<Lab> {
  const file = labFile({ folder: labFolder(name) });
  if (!existsSync(file)) throw new Error(`lab "${name}" is not up`);
  const lab = JSON.parse(await readFile(file, 'utf8')) as Lab;
  const running = runningNodes(lab);
  const missing = nodesOf(lab).filter((node) => !running.has(node));
  if (missing.length > 0)
    throw new Error(`lab "${lab.name}" is broken (${missing.join(', ')} gone): bring it up again`);
  return lab;
}

/** Ends everything of a lab, however much of it is there, deletes its folder and gives its subnet back. */
export async function downLab(name: string): Promise<void> {
  await releaseLab(name, remove);
}

async function remove(name: string): Promise<void> {
  const folder = labFolder(name);
  await killNodes({ name, folder });
  await removeUplink(uplinkOf(name));
  await rm(folder, { recursive: true, force: true });
}

export interface HostStatus {
  host: HostName;
  address: string;
  libvirtUri: string;
  libvirtSocket: string;
  /** Init's process id on the machine, for nsenter. */
  pid: number | undefined;
  /** Guests by name with libvirt's word for their state; undefined when libvirtd does not answer. */
  guests: Record<string, string> | undefined;
}

/** What of a lab is there. */
export async function labStatus(lab: Lab): Promise<HostStatus[]> {
  const running = runningNodes(lab);
  return await Promise.all(
    lab.hosts.map(async (host) => ({
      host,
      address: addressOf(lab, host),
      libvirtUri: libvirtUriOf(lab, host),
      libvirtSocket: libvirtSocketOf(lab, host),
      pid: running.get(host),
      guests: await guestsOf(lab, host),
    })),
  );
}

/**
 * Makes `handoff-agent` a command on every host: the bundle at `bundlePath`, run by this very Node. Each host's agent has
 * its own /run/handoff, and reads its credentials from the host's own file (`credentialsFile`).
 */
export async function installAgent(lab: Lab, bundlePath: string): Promise<void> {
  for (const host of lab.hosts) {
    const bin = join(folderOf(lab, host), 'run/bin');
    await mkdir(bin, { recursive: true });
    // The cache of compiled code is the host's own and goes with it.
    const script = `#!/bin/sh\nNODE_COMPILE_CACHE=/run/node-cache exec '${process.execPath}' '${bundlePath}' "$@"\n`;
    await writeFile(join(bin, 'handoff-agent'), script, { mode: 0o755 });
  }
}

/** The log file of a host's agent as the machine sees it; on the host, HANDOFF_LOG_FILE names it. */
export function agentLogFile(plan: LabPlan, host: HostName): string {
  return join(folderOf(plan, host), 'log/handoff-agent.jsonl');
}

/** A host's AWS credentials file as the machine sees it; on the host, AWS_SHARED_CREDENTIALS_FILE names it. */
export function credentialsFile(plan: LabPlan, host: HostName): string {
  return join(folderOf(plan, host), 'run/aws/credentials');
}

async function guestsOf(lab: Lab, host: HostName): Promise<Record<string, string> | undefined> {
  const { exitCode, stdout } = await exec(lab, host, ['timeout', '5', 'virsh', '--quiet', 'list', '--all']);
  if (exitCode !== 0) return undefined;
  const rows = stdout.toString('utf8').matchAll(/^\s*\S+\s+(\S+)\s+(.+?)\s*$/gm);
  return Object.fromEntries(Array.from(rows, ([, name, state]) => [name, state]));
}

function hostsFile(plan: LabPlan): string {
  const lines = nodesOf(plan).map((node) => `${addressOf(plan, node)} ${node}\n`);
  return `127.0.0.1 localhost\n${lines.join('')}`;
}
