import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec, execText } from './node.ts';
import { addressOf, folderOf, type LabPlan } from './plan.ts';

/** A disk served by the rack over NBD: what both hosts of a migration can reach, and libvirt takes as shared storage. */
export interface SharedDisk {
  name: string;
  address: string;
  port: number;
}

/** Creates an empty disk of `sizeMiB` and serves it on `port` of the rack. */
export async function shareDisk(plan: LabPlan, name: string, port: number, sizeMiB: number): Promise<SharedDisk> {
  const address = addressOf(plan, 'rack');
  const file = sharedDiskFile(plan, name);
  await mkdir(join(folderOf(plan, 'rack'), 'lib'), { recursive: true });
  await writeFile(file, '');
  await truncate(file, sizeMiB * 1024 * 1024);
  const inside = `/var/lib/libvirt/${name}.raw`;
  const server = ['qemu-nbd', '--export-name', name, '--bind', address, '--port', `${port}`, '--format', 'raw'];
  // Source and destination have it open at the same time.
  const shared = ['--shared', '8', '--persistent', '--fork', '--pid-file', `/run/disk-${name}.pid`];
  await execText(plan, 'rack', [...server, ...shared, inside]);
  return { name, address, port };
}

/** Stops serving a disk and deletes it; does nothing for a guest that has none. */
export async function removeDisk(plan: LabPlan, name: string): Promise<void> {
  const pidFile = join(folderOf(plan, 'rack'), 'run', `disk-${name}.pid`);
  const pid = await readFile(pidFile, 'utf8').catch(() => undefined);
  if (pid === undefined) return;
  await exec(plan, 'rack', ['kill', pid.trim()]);
  await rm(pidFile, { force: true });
  await rm(sharedDiskFile(plan, name), { force: true });
}

/** The disk's bytes, on the machine: a ring of the guest's ticks (guest-image/guest.c). */
export function sharedDiskFile(plan: LabPlan, name: string): string {
  return join(folderOf(plan, 'rack'), 'lib', `${name}.raw`);
}
