import { truncate, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { removeDisk, shareDisk } from '../hosts/disks.ts';
import type { Lab } from '../hosts/lab.ts';
import { BRIDGE } from '../hosts/network.ts';
import { exec, execText } from '../hosts/node.ts';
import { folderOf, type HostName, libvirtUriOf } from '../hosts/plan.ts';
import { until } from '../hosts/until.ts';
import { domainXml } from './domain.ts';

/** The port of guest.c's service. */
export const GUEST_PORT = 7000;

export interface GuestOptions {
  name: string;
  /** In the lab's network, with a last number from 101 to 254 that no other guest has. */
  address: string;
  /** 512 by default. */
  memoryMiB?: number;
  /** How fast it dirties memory, in MiB/s; 20 by default. */
  dirtyMiBps?: number;
  /** Over how much of its memory; 200 MiB by default, and half the memory at most. */
  workingSetMiB?: number;
  /** Default `shared`. `local` is a file on the host that no other host has. */
  disk?: 'shared' | 'local' | 'none';
  /** 64 by default. */
  diskMiB?: number;
  /** The bridge it is plugged into; of others than the default only hosts that `addBridge` was called for have one. */
  bridge?: string;
  /** Whether its definition is kept (the default) or goes with it. */
  persistent?: boolean;
}

/** What a guest says of itself. A guest that went through a migration unharmed has the same `bootId` and no errors. */
export interface GuestStatus {
  bootId: string;
  pid: number;
  uptimeMs: number;
  /** Written to its disk, ten a second. */
  ticks: number;
  /** Failed writes, and ticks that somebody else overwrote. */
  diskErrors: number;
  /** Memory pages that were not as they were written last. */
  patternErrors: number;
  dirtiedBytes: number;
  checkedBytes: number;
  dirtyMiBps: number;
}

/** Starts a guest; it has booted when this resolves (unless its bridge leads nowhere). */
export async function startGuest(lab: Lab, host: HostName, options: GuestOptions): Promise<void> {
  const { name, address, memoryMiB = 512, diskMiB = 64, bridge = BRIDGE, persistent = true } = options;
  const last = Number(new RegExp(`^${lab.subnet.replaceAll('.', '\\.')}\\.(\\d+)$`).exec(address)?.[1]);
  if (!(last >= 101 && last <= 254)) throw new RangeError(`guest address ${address}: ${lab.subnet}.101 to .254`);
  const workingSetMiB = options.workingSetMiB ?? Math.min(200, Math.floor(memoryMiB * 0.4));
  if (workingSetMiB > memoryMiB / 2) throw new RangeError(`a working set of ${workingSetMiB} MiB in ${memoryMiB} MiB`);

  const disk = await createDisk(lab, host, options.disk ?? 'shared', { name, port: 10_700 + last, diskMiB });
  const { dirtyMiBps = 20 } = options;
  const xml = domainXml({ name, address, memoryMiB, dirtyMiBps, workingSetMiB, bridge, disk }, lab.image);
  await writeFile(join(folderOf(lab, host), 'run', `${name}.xml`), xml);
  const definition = `/run/${name}.xml`;
  if (persistent) {
    await virsh(lab, host, ['define', definition]);
    await virsh(lab, host, ['start', name]);
  } else {
    await virsh(lab, host, ['create', definition]);
  }
  if (bridge === BRIDGE) {
    await until(`guest ${name} answers at ${address}`, () => guestStatus(address).catch(() => undefined), {
      timeoutMs: 60_000,
    });
  }
}

/** Ends a guest wherever it is, with its definitions and its disk. */
export async function destroyGuest(lab: Lab, name: string): Promise<void> {
  for (const host of lab.hosts) {
    // Each fails on the hosts where there is nothing to do.
    await exec(lab, host, ['virsh', 'destroy', name]);
    await exec(lab, host, ['virsh', 'undefine', name]);
  }
  await removeDisk(lab, name);
}

/** Asks a guest how it is; rejects when it does not answer within a second. */
export async function guestStatus(address: string): Promise<GuestStatus> {
  return JSON.parse(await askGuest(address, 'status')) as GuestStatus;
}

/** Changes the rate at which a guest dirties its memory, in MiB/s. */
export async function setDirtyRate(address: string, rate: number): Promise<void> {
  await askGuest(address, `dirty ${rate}`);
}

export interface VirshMigrationOptions {
  /** Move the definition too, as Handoff does; the default. */
  persistent?: boolean;
  /** More of `virsh migrate`'s own options. */
  args?: readonly string[];
}

/** What everyone else does: `virsh migrate --live --p2p`, run on the source host. Rejects with a CommandError. */
export async function plainVirsh(
  lab: Lab,
  { from, to, guest }: { from: HostName; to: HostName; guest: string },
  { persistent = true, args = [] }: VirshMigrationOptions = {},
): Promise<void> {
  const definition = persistent ? ['--persistent', '--undefinesource'] : [];
  await virsh(lab, from, ['migrate', '--live', '--p2p', ...definition, ...args, guest, libvirtUriOf(lab, to)]);
}

async function createDisk(
  lab: Lab,
  host: HostName,
  kind: NonNullable<GuestOptions['disk']>,
  { name, port, diskMiB }: { name: string; port: number; diskMiB: number },
) {
  if (kind === 'none') return undefined;
  if (kind === 'shared') return await shareDisk(lab, name, port, diskMiB);
  const file = join(folderOf(lab, host), 'lib', `${name}.raw`);
  await writeFile(file, '');
  await truncate(file, diskMiB * 1024 * 1024);
  return { file: `/var/lib/libvirt/${name}.raw` };
}

async function virsh(lab: Lab, host: HostName, args: readonly string[]): Promise<void> {
  await execText(lab, host, ['virsh', ...args]);
}

function askGuest(address: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: address, port: GUEST_PORT });
    let answer = '';
    socket.setTimeout(1_000, () => socket.destroy(new Error(`the guest at ${address} does not answer`)));
    socket.on('connect', () => socket.end(`${line}\n`));
    socket.on('data', (chunk: Buffer) => {
      answer += chunk;
    });
    socket.on('error', reject);
    socket.on('close', (failed) => {
      if (!failed) resolve(answer.trim());
    });
  });
}
