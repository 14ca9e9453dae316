import { setImmediate } from 'node:timers/promises';
import { pseudoRandom } from '../../common/pseudo-random.ts';
import { type EmbeddedAws, startEmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import { wireIsInUse } from '../../embedded-aws/endpoint/direct.ts';
import { type Assembly, readAssembly } from '../../embedded-aws/template/assembly.ts';
import { type ManagedHost, manage } from '../hosts/managed-host.ts';
import { SimulatedFleet } from '../hypervisor/fleet.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { scheduleEvacuations } from './evacuations.ts';
import { Injector, type Route } from './fault-injector.ts';
import { type Dish, type Fault, LASTING, planFaults } from './fault-plan.ts';
import { lookAtEnd, tellUnsettled } from './final-state.ts';
import { InvariantChecker, type Violation } from './invariant-checker.ts';
import type { Hooks } from './mutation-hooks.ts';

export interface WorldOptions {
  /** The synthesized stack's folder. */
  assembly: string;
  seed: number;
  migrations: number;
  hosts: number;
  /** How many VMs there are to migrate; fewer than migrations unless told otherwise, so that some are wanted twice. */
  vms?: number;
  /** How far apart migrations begin on average, in ms; the seed says unless told otherwise. */
  apartMs?: number;
  /** The speed of every link, in MiB/s; the seed says unless told otherwise. */
  linkMiBps?: number;
  /** The memory of every host; more than enough unless told otherwise. */
  memoryMiB?: number;
  /** Which part of the VMs, in [0, 1], have a disk that only their host has; some unless told otherwise. */
  localDisks?: number;
  /** How many times a host is to be emptied; none unless told otherwise. */
  evacuations?: number;
  /** Which faults there may be; the seed says which there are. */
  menu: readonly Dish[];
  /** In place of the seed's own plan. */
  plan?: readonly Fault[];
  /** What stands in the place of a safety measure. */
  mutation?: Hooks;
}

export interface WorldResult {
  seed: number;
  migrations: number;
  plan: readonly Fault[];
  /** The faults whose moment came. */
  injected: Fault[];
  /** Migrations by their status at the end. */
  outcomes: Record<string, number>;
  /** Migrations that went over to post-copy, by their status at the end. */
  postCopies: Record<string, number>;
  violations: Violation[];
  /** What happened, one line each, with the seconds since the beginning. */
  timeline: string[];
  virtualSeconds: number;
}

/** No call is refused because it makes no sense; one that is changed by a mutation must make some too. */
export const VALID_CALLS = 'calls are valid';
const MINUTE = 60_000;
/** A migration that has not ended by then never will. */
const A_DAY = 24 * 60 * MINUTE;
/** Commands come, and partitions heal, up to an hour late; what they still do must do no harm. */
const AFTERMATH = 130 * MINUTE;
/** Without faults nothing is late; a sweep still comes by, every five minutes, and finds nothing to do. */
const ONE_SWEEP = 6 * MINUTE;

/**
 * One simulated world, from its beginning to when all is quiet: hosts, VMs, migrations and faults as the seed says. The same
 * options give the same result, line by line.
 */
export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  const { seed, migrations, mutation } = options;
  // Each purpose has numbers of its own, so that leaving a fault out changes nothing else.
  const numbers = [1, 2, 3, 4, 5].map((purpose) => pseudoRandom(seed * 16 + purpose));
  const [identifiers, workload, faults, hypervisors, disks] = numbers;
  const plan = options.plan ?? planFaults(faults!, options.menu, migrations);
  // Between worlds the event loop has its turn, for whoever wants to end this process.
  await setImmediate();
  const clock = new VirtualClock(undefined, wireIsInUse);
  const began = clock.now();
  const timeline: string[] = [];
  const say = (what: string) =>
    void timeline.push(`${((clock.now() - began) / 1_000).toFixed(3).padStart(10)}  ${what}`);
  const injected: Fault[] = [];

  const fleet = new SimulatedFleet(clock, hypervisors);
  const checker = new InvariantChecker(fleet, say);
  fleet.onChange = (vm) => checker.vmChanged(vm);
  // The one moment in which libvirt itself loses a VM: post-copy has begun, and Finish has not reached the destination when its
  // client is gone.
  fleet.onHalfLost = (vm) => checker.harmed.add(vm);
  fleet.onDaemonCrash = (hostId) => checker.violated('no daemon is crashed', `that of ${hostId} was`);
  // In some, agents do not resume a post-copy, since the destination's daemon would end from it.
  if (workload!() < 0.2) fleet.libvirtVersion = 11_003_000;
  const aws = await startEmbeddedAws({
    assembly: assemblyIn(options.assembly),
    clock,
    random: identifiers!,
    listen: false,
    direct: true,
    logLevel: 'SILENT',
    report: (message) => say(`lost: ${message}`),
    onItemChange: (before, after) => checker.itemChanged(before, after),
  });
  try {
    const hosts = new Map<string, ManagedHost>();
    const routes = new Map<string, Route>();
    const injector = new Injector({
      plan,
      fleet,
      aws,
      hosts,
      routeOf: (migrationId) => routes.get(migrationId) ?? checker.records.get(migrationId),
      harm: (vm) => checker.harmed.add(vm),
      injected: (fault, what) => {
        injected.push(fault);
        const lastsMs = fault.ms ?? (LASTING.includes(fault.kind) ? Number.POSITIVE_INFINITY : 0);
        checker.troubledUntil = Math.max(checker.troubledUntil, clock.now() + lastsMs);
        say(`FAULT ${fault.kind}: ${what}${fault.ms === undefined ? '' : `, ${fault.ms} ms`}`);
      },
    });
    await addHosts({ aws, fleet, hosts, injector, checker, options, random: workload! });
    aws.intercept((call, next) => {
      if (call.caller === aws.adminCaller) return next();
      const made = () =>
        (mutation?.call?.(call, next) ?? next()).catch((error: Error) => {
          if (error.name === 'ValidationException')
            checker.violated(VALID_CALLS, `${call.operation}: ${error.message}`);
          throw error;
        });
      return plan.length === 0 ? made() : injector.call(call, made);
    });
    const begin = scheduleMigrations({ aws, fleet, checker, options, routes, say, random: workload!, disks: disks! });

    const evacuations = scheduleEvacuations({
      aws,
      fleet,
      count: options.evacuations ?? 0,
      withinMs: migrations * 15_000,
      random: workload!,
      say,
    });
    const begun = () => begin.done() && evacuations.done();

    const broken = () => checker.violations.length > 0;
    const limit = clock.now() + A_DAY;
    while (!broken() && clock.now() < limit && !(begun() && (await running(aws)) === 0)) {
      await clock.runUntilIdle(clock.now() + MINUTE, broken);
      await clock.advanceTo(clock.now() + (broken() ? 0 : MINUTE));
    }
    const stuck = await running(aws);
    if (!broken() && stuck > 0) checker.violated('every migration ends', `${stuck} executions still run after a day`);
    await clock.runUntilIdle(clock.now() + (plan.length > 0 ? AFTERMATH : ONE_SWEEP), broken);
    const ended = lookAtEnd({
      fleet,
      checker,
      routes,
      away: (hostId) => injector.isAway(hostId),
      check: !broken(),
    });
    if (broken()) await tellUnsettled(aws, say);
    const virtualSeconds = Math.round((clock.now() - began) / 1_000);
    return { seed, migrations, plan, injected, ...ended, violations: checker.violations, timeline, virtualSeconds };
  } finally {
    aws.intercept(undefined);
    await aws.stop();
  }
}

const assemblies = new Map<string, Assembly>();

/** Read once, for all worlds. */
function assemblyIn(folder: string): Assembly {
  const assembly = assemblies.get(folder) ?? readAssembly(folder);
  assemblies.set(folder, assembly);
  return assembly;
}

async function running(aws: EmbeddedAws): Promise<number> {
  let count = 0;
  for (const machine of ['MigrateMachine', 'EvacuateMachine']) {
    const input = { stateMachineArn: String(aws.outputs[machine]), statusFilter: 'RUNNING' };
    const { executions } = await aws.callAws('states', 'ListExecutions', input, aws.adminCaller);
    count += (executions as unknown[]).length;
  }
  return count;
}

interface Parts {
  aws: EmbeddedAws;
  fleet: SimulatedFleet;
  checker: InvariantChecker;
  options: WorldOptions;
  random: () => number;
}

async function addHosts({
  aws,
  fleet,
  hosts,
  injector,
  checker,
  options: { hosts: count, linkMiBps, memoryMiB, mutation },
  random,
}: Parts & { hosts: Map<string, ManagedHost>; injector: Injector }): Promise<void> {
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

/** VMs all over the hosts; each migration begins at a moment of its own. */
function scheduleMigrations({
  aws,
  fleet,
  checker,
  options: { migrations, hosts, vms: count = Math.ceil(migrations * 0.6), apartMs: apart, localDisks = 0.2 },
  routes,
  say,
  random,
  disks,
}: Parts & { routes: Map<string, Route>; say(what: string): void; disks: () => number }): { done(): boolean } {
  const vms = Array.from({ length: count }, (_, index) => `vm${index + 1}`);
  const [hungry, local] = [new Set<string>(), new Set<string>()];
  // Far apart, a VM is wanted again when what an earlier migration has left is being put right.
  const drawn = random() < 0.25 ? 2 * MINUTE : 15_000;
  const apartMs = apart ?? drawn;
  for (const [index, name] of vms.entries()) {
    const memoryMiB = 2 ** between(random, 7, 14);
    const workingSetMiB = Math.min(between(random, 1, 512), memoryMiB / 2);
    // An idle guest converges although it is held, and switches by itself.
    const dirtyMiBps = random() < 0.3 ? 0 : between(random, 0, 200);
    const guest = { name, memoryMiB, dirtyMiBps, workingSetMiB, persistent: random() < 0.8 };
    // Some write faster than any link here carries: they need post-copy, or to be slowed.
    if (random() < 0.35) {
      hungry.add(name);
      Object.assign(guest, { memoryMiB: Math.max(2_048, memoryMiB), dirtyMiBps: 4_000 });
      guest.workingSetMiB = Math.floor(guest.memoryMiB * 0.8);
    }
    // A disk that only its host has is copied along.
    if (disks() < localDisks) {
      local.add(name);
      Object.assign(guest, { disk: { allocatedMiB: 2 ** between(disks, 6, 15), newest: 0 } });
    }
    // Every second one answers, so that it is looked at while it moves; some of these must be announced again.
    const seen = index % 2 === 0 && { address: `10.128.${index >> 8}.${index & 255}`, unannounced: index % 8 === 0 };
    fleet.addGuest(`kvm${between(random, 1, hosts)}`, { ...guest, ...seen });
  }
  let left = migrations;
  for (let number = 1; number <= migrations; number++) {
    const vm = vms[between(random, 0, vms.length - 1)]!;
    const [at, hop] = [between(random, 0, migrations * apartMs), between(random, 1, hosts - 1)];
    const policy = {
      heartbeatTimeoutSeconds: [10, 30, 60][between(random, 0, 2)]!,
      deadlineSeconds: between(random, 60, 900),
    };
    if (hungry.has(vm) || random() < 0.2) Object.assign(policy, { onNonConvergence: 'postcopy' });
    // Which is not to be had together with post-copy.
    if (local.has(vm)) Object.assign(policy, { migrateStorage: disks() < 0.9, onNonConvergence: 'abort' });
    const start = async () => {
      await fleet.clock.sleep(at);
      const source = checker.homeOf(vm)!;
      const destination = `kvm${((Number(source.slice(3)) - 1 + hop) % hosts) + 1}`;
      const migrationId = `${vm}-m${number}`;
      routes.set(migrationId, { vm, source, destination });
      say(`${migrationId}: from ${source} to ${destination}`);
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
