import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import { type ManagedHost, manage } from '../hosts/managed-host.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import type { FaultInjector, RequestedMigration } from './fault-injector.ts';
import type { InvariantChecker } from './invariant-checker.ts';
import type { Overrides } from './mutations/mutation.ts';

/** What a workload is drawn from; see WorldOptions. */
interface WorkloadOptions {
  migrations: number;
  hosts: number;
  vms?: number;
  apartMs?: number;
  linkMiBps?: number;
  memoryMiB?: number;
  localDisks?: number;
  mutation?: Overrides;
}

interface Workload {
  aws: EmbeddedAws;
  fleet: SimulatedFleet;
  checker: InvariantChecker;
  options: WorkloadOptions;
  random: () => number;
}

const MINUTE = 60_000;

/** Adds the hosts of a world and registers them with Handoff. */
export async function addHosts({
  aws,
  fleet,
  hosts,
  injector,
  checker,
  options: { hosts: count, linkMiBps, memoryMiB, mutation },
  random,
}: Workload & { hosts: Map<string, ManagedHost>; injector: FaultInjector }): Promise<void> {
  for (let number = 1; number <= count; number++) {
    const hostId = `kvm${number}`;
    const drawn = between(random, 100, 2_500);
    fleet.addHost({ hostId, linkMiBps: linkMiBps ?? drawn, ...(memoryMiB !== undefined && { memoryMiB }) });
    const host = manage(aws, fleet, hostId, {
      watch: (boundary) => {
        injector.step(boundary);
        checker.stepped(boundary);
      },
      ran: (requestId, outcome) => checker.ran(requestId, outcome),
      ...(mutation?.agent && { alter: mutation.agent }),
    });
    aws.registerNode(host.nodeId, injector.command(hostId, host.node));
    hosts.set(hostId, host);
    const limits = { outgoing: between(random, 1, 4), incoming: between(random, 1, 4) };
    const { response } = await aws.inProcess().requestHandler.handle({
      method: 'PUT',
      path: `/hosts/${hostId}`,
      headers: { authorization: 'AWS4-HMAC-SHA256 Credential=local/', 'content-type': 'application/json' },
      body: JSON.stringify({ ...host.registration, limits }),
    });
    if (response.statusCode !== 200)
      throw new Error(`PUT /hosts/${hostId}: ${new TextDecoder().decode(response.body)}`);
  }
}

/** Starts VMs on random hosts, and schedules migrations of random VMs at random times. */
export function scheduleMigrations({
  aws,
  fleet,
  checker,
  options: { migrations, hosts, vms: count = Math.ceil(migrations * 0.6), apartMs: apart, localDisks = 0.2 },
  requested,
  log,
  random,
  disks,
}: Workload & { requested: Map<string, RequestedMigration>; log(message: string): void; disks: () => number }): {
  done(): boolean;
} {
  const vms = Array.from({ length: count }, (_, index) => `vm${index + 1}`);
  const [busy, local] = [new Set<string>(), new Set<string>()];
  // Two minutes apart, a VM is migrated again while an earlier migration of it is being cleaned up.
  const drawn = random() < 0.25 ? 2 * MINUTE : 15_000;
  const apartMs = apart ?? drawn;
  for (const [index, name] of vms.entries()) {
    const memoryMiB = 2 ** between(random, 7, 14);
    const workingSetMiB = Math.min(between(random, 1, 512), memoryMiB / 2);
    // An idle guest converges although the copy is held, and then switches over by itself.
    const dirtyMiBps = random() < 0.3 ? 0 : between(random, 0, 200);
    const guest = { name, memoryMiB, dirtyMiBps, workingSetMiB, persistent: random() < 0.8 };
    // Some write faster than any link here carries: they need post-copy or auto-converge.
    if (random() < 0.35) {
      busy.add(name);
      Object.assign(guest, { memoryMiB: Math.max(2_048, memoryMiB), dirtyMiBps: 4_000 });
      guest.workingSetMiB = Math.floor(guest.memoryMiB * 0.8);
    }
    // Its disk is in local storage and has to be migrated too.
    if (disks() < localDisks) {
      local.add(name);
      Object.assign(guest, { disk: { allocatedMiB: 2 ** between(disks, 6, 15), newest: 0 } });
    }
    // Every second guest answers probes; the network learns of some of these only when they are announced again.
    const reachability = index % 2 === 0 && {
      address: `10.128.${index >> 8}.${index & 255}`,
      unannounced: index % 8 === 0,
    };
    fleet.addGuest(`kvm${between(random, 1, hosts)}`, { ...guest, ...reachability });
  }
  let left = migrations;
  for (let number = 1; number <= migrations; number++) {
    const vm = vms[between(random, 0, vms.length - 1)]!;
    const [at, hop] = [between(random, 0, migrations * apartMs), between(random, 1, hosts - 1)];
    const policy = {
      heartbeatTimeoutSeconds: [10, 30, 60][between(random, 0, 2)]!,
      deadlineSeconds: between(random, 60, 900),
    };
    if (busy.has(vm) || random() < 0.2) Object.assign(policy, { onNonConvergence: 'postcopy' });
    // Storage can't be migrated together with post-copy.
    if (local.has(vm)) Object.assign(policy, { migrateStorage: disks() < 0.9, onNonConvergence: 'abort' });
    const start = async () => {
      await fleet.clock.sleep(at);
      const source = checker.vms.homeOf(vm)!;
      const destination = `kvm${((Number(source.slice(3)) - 1 + hop) % hosts) + 1}`;
      const migrationId = `${vm}-m${number}`;
      requested.set(migrationId, { vm, source, destination });
      log(`${migrationId}: from ${source} to ${destination}`);
      const input = JSON.stringify({ vm, source, destination, policy });
      const stateMachineArn = String(aws.outputs.MigrateMachine);
      await aws.callAws('states', 'StartExecution', { stateMachineArn, name: migrationId, input }, aws.adminCaller);
      left -= 1;
    };
    void start();
  }
  return { done: () => left === 0 };
}

const between = (random: () => number, least: number, most: number): number =>
  least + Math.floor(random() * (most - least + 1));
