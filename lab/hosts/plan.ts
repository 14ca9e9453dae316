import { join } from 'node:path';

/** A lab host: a machine with its own libvirtd, as far as libvirt and an agent can tell. */
export type HostName = `kvm${number}`;
/** `rack` is the switch all are plugged into, and the disk server; `client` is where users of the guests live. */
export type NodeName = 'rack' | 'client' | HostName;

export interface LabOptions {
  /**
   * 1-7 lower-case letters and digits. A lab with a name is kept until it is taken down by that name. A lab without one gets a name
   * that is free, and belongs to the process that brings it up: when that process has ended, the next lab to come up removes it.
   */
  name?: string;
  /** The first three numbers of the lab's /24 network; without it, one that is free. */
  subnet?: string;
  /** How many hosts, 2-9. 2 by default. */
  hosts?: number;
}

/** Every name and address of a lab; nothing outside them is touched. */
export interface LabPlan {
  readonly name: string;
  readonly subnet: string;
  readonly hosts: readonly HostName[];
  /** All the lab's files. Short, since the path of a unix socket has at most 107 characters. */
  readonly folder: string;
  /** The one network interface the machine itself gets; its other end is plugged into the rack. */
  readonly uplink: string;
}

const HOME = '/run';

export function planLab({ name, subnet, hosts = 2 }: LabOptions & { name: string; subnet: string }): LabPlan {
  if (!/^[a-z0-9]{1,7}$/.test(name)) throw new RangeError(`lab name "${name}": 1-7 lower-case letters and digits`);
  if (!/^(\d{1,3}\.){2}\d{1,3}$/.test(subnet)) throw new RangeError(`subnet "${subnet}": three numbers, as "10.77.0"`);
  if (!(hosts >= 2 && hosts <= 9)) throw new RangeError(`${hosts} hosts: 2 to 9`);
  return {
    name,
    subnet,
    hosts: Array.from({ length: hosts }, (_, index): HostName => `kvm${index + 1}`),
    folder: labFolder(name),
    uplink: uplinkOf(name),
  };
}

export const labFolder = (name: string): string => join(HOME, `handoff-${name}`);

/** Unique on the machine, and not longer than the 15 characters that the kernel takes. */
export const uplinkOf = (name: string): string => `handoff-${name}`;

/** The file that a lab has once all of it is up. */
export const labFile = ({ folder }: Pick<LabPlan, 'folder'>): string => join(folder, 'lab.json');

export function nodesOf(plan: LabPlan): NodeName[] {
  return ['rack', 'client', ...plan.hosts];
}

/** .1 is the machine itself, .10 the rack, .11 to .19 the hosts, .20 the client; guests take .101 and up. */
export function addressOf(plan: LabPlan, node: NodeName | 'machine'): string {
  const fixed: Record<string, number> = { machine: 1, rack: 10, client: 20 };
  return `${plan.subnet}.${fixed[node] ?? 10 + Number(node.slice('kvm'.length))}`;
}

/** By which agents and virsh elsewhere reach a host. */
export function libvirtUriOf(plan: LabPlan, host: HostName): string {
  return `qemu+tcp://${addressOf(plan, host)}/system`;
}

/** A node's own folder. Its `run` is the node's /run, and so holds sockets, pid files, `bin` and credentials. */
export function folderOf(plan: LabPlan, node: NodeName): string {
  return join(plan.folder, node);
}

/** libvirtd's unix socket as the machine sees it; on the host itself it is /run/libvirt/libvirt-sock. */
export function libvirtSocketOf(plan: LabPlan, host: HostName): string {
  return join(folderOf(plan, host), 'run/libvirt/libvirt-sock');
}
