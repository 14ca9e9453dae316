import { setImmediate } from 'node:timers/promises';
import { pseudoRandom } from '../../common/pseudo-random.ts';
import { type EmbeddedAws, startEmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import { wireIsInUse } from '../../embedded-aws/endpoint/direct.ts';
import { type Assembly, readAssembly } from '../../embedded-aws/template/assembly.ts';
import type { ManagedHost } from '../hosts/managed-host.ts';
import { SimulatedFleet } from '../hypervisor/fleet.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { scheduleEvacuations } from './evacuations.ts';
import { type FaultSpec, LASTING_KINDS } from './fault-catalog.ts';
import { FaultInjector, type RequestedMigration } from './fault-injector.ts';
import { type Fault, planFaults } from './fault-plan.ts';
import { checkFinalState, logUnsettled } from './final-state.ts';
import { InvariantChecker } from './invariant-checker.ts';
import type { Violation } from './invariants.ts';
import type { Overrides } from './mutations/mutation.ts';
import { addHosts, scheduleMigrations } from './workload.ts';

export interface WorldOptions {
  /** The synthesized stack's folder. */
  assembly: string;
  seed: number;
  migrations: number;
  hosts: number;
  /** The number of VMs; by default fewer than migrations, so that some are migrated twice. */
  vms?: number;
  /** The average time between the starts of two migrations, in ms; by default drawn from the seed. */
  apartMs?: number;
  /** The speed of every link, in MiB/s; by default drawn from the seed. */
  linkMiBps?: number;
  /** The memory of every host; by default enough for all VMs. */
  memoryMiB?: number;
  /** The share of VMs with a disk in local storage, in [0, 1]; by default 0.2. */
  localDisks?: number;
  /** The number of evacuations; by default none. */
  evacuations?: number;
  /** The faults that the seed may draw. */
  catalog: readonly FaultSpec[];
  /** Replaces the plan that the seed draws. */
  plan?: readonly Fault[];
  /** Replaces a safety measure. */
  mutation?: Overrides;
}

export interface WorldResult {
  seed: number;
  migrations: number;
  plan: readonly Fault[];
  /** The faults whose point was reached. */
  injected: Fault[];
  /** Migrations by their final status; `REFUSED` left no record, because the VM was locked. */
  outcomes: Record<string, number>;
  /** Migrations that used post-copy, by their final status. */
  postCopies: Record<string, number>;
  violations: Violation[];
  /** What happened, one line each, with the seconds since the beginning. */
  timeline: string[];
  virtualSeconds: number;
}

const MINUTE = 60_000;
/** A migration that has not ended after a day never ends. */
const DAY = 24 * 60 * MINUTE;
/** Commands arrive, and partitions heal, up to an hour late. What happens then must do no harm. */
const AFTERMATH = 130 * MINUTE;
/** Without faults nothing is late. The sweep, every five minutes, still runs once and must find nothing to do. */
const ONE_SWEEP = 6 * MINUTE;

/**
 * Runs one simulated world until it has come to rest: hosts, VMs, migrations and faults are drawn from the seed. The same options
 * give the same result, line by line.
 */
export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  const { seed, migrations, mutation } = options;
  // Each purpose draws from a sequence of its own, so that a plan with fewer faults changes nothing else.
  const numbers = [1, 2, 3, 4, 5].map((purpose) => pseudoRandom(seed * 16 + purpose));
  const [identifiers, workload, faults, hypervisors, disks] = numbers;
  const plan = options.plan ?? planFaults(faults!, options.catalog, migrations);
  // Between worlds the event loop runs, so that signals and timers of this process are handled.
  await setImmediate();
  const clock = new VirtualClock(undefined, wireIsInUse);
  const began = clock.now();
  const timeline: string[] = [];
  const log = (message: string) =>
    void timeline.push(`${((clock.now() - began) / 1_000).toFixed(3).padStart(10)}  ${message}`);
  const injected: Fault[] = [];

  const fleet = new SimulatedFleet(clock, hypervisors);
  const checker = new InvariantChecker(fleet, log);
  fleet.onChange = (vm) => checker.vms.vmChanged(vm);
  // The only way in which libvirt itself loses a VM: post-copy has begun, and the client's connection ends before Finish reaches
  // the destination.
  fleet.onHalfLost = (vm) => checker.harmed.add(vm);
  fleet.onDaemonCrash = (hostId) => checker.violated('no libvirt daemon crashes', `the one of ${hostId} did`);
  // With this version agents do not resume a post-copy: the destination's daemon would crash.
  if (workload!() < 0.2) fleet.libvirtVersion = 11_003_000;
  const aws = await startEmbeddedAws({
    assembly: assemblyIn(options.assembly),
    clock,
    random: identifiers!,
    listen: false,
    direct: true,
    logLevel: 'SILENT',
    report: (message) => log(`lost: ${message}`),
    onItemChange: (before, after) => checker.itemChanged(before, after),
  });
  try {
    const hosts = new Map<string, ManagedHost>();
    const requested = new Map<string, RequestedMigration>();
    const injector = new FaultInjector({
      plan,
      fleet,
      aws,
      hosts,
      findMigration: (migrationId) => requested.get(migrationId) ?? checker.records.get(migrationId),
      onHarm: (vm) => checker.harmed.add(vm),
      onInjected: (fault, where) => {
        injected.push(fault);
        const lastsMs = fault.ms ?? (LASTING_KINDS.includes(fault.kind) ? Number.POSITIVE_INFINITY : 0);
        checker.troubledUntil = Math.max(checker.troubledUntil, clock.now() + lastsMs);
        log(`FAULT ${fault.kind}: ${where}${fault.ms === undefined ? '' : `, ${fault.ms} ms`}`);
      },
    });
    await addHosts({ aws, fleet, hosts, injector, checker, options, random: workload! });
    aws.intercept((call, next) => {
      if (call.caller === aws.adminCaller) return next();
      const made = () =>
        (mutation?.call?.(call, next) ?? next()).catch((error: Error) => {
          if (error.name === 'ValidationException')
            checker.violated('calls of AWS are valid', `${call.operation}: ${error.message}`);
          throw error;
        });
      return plan.length === 0 ? made() : injector.call(call, made);
    });
    const workloadParts = { aws, fleet, checker, options, random: workload! };
    const migrationStarts = scheduleMigrations({ ...workloadParts, requested, log, disks: disks! });

    const evacuations = scheduleEvacuations({
      aws,
      fleet,
      count: options.evacuations ?? 0,
      withinMs: migrations * 15_000,
      random: workload!,
      log,
    });
    const begun = () => migrationStarts.done() && evacuations.done();

    const violated = () => checker.violations.length > 0;
    const limit = clock.now() + DAY;
    while (!violated() && clock.now() < limit && !(begun() && (await running(aws)) === 0)) {
      await clock.runUntilIdle(clock.now() + MINUTE, violated);
      await clock.advanceTo(clock.now() + (violated() ? 0 : MINUTE));
    }
    const stuck = await running(aws);
    if (!violated() && stuck > 0) checker.violated('every migration ends', `${stuck} executions still run after a day`);
    await clock.runUntilIdle(clock.now() + (plan.length > 0 ? AFTERMATH : ONE_SWEEP), violated);
    const ended = checkFinalState({
      fleet,
      checker,
      requested,
      isOffline: (hostId) => injector.isOffline(hostId),
      check: !violated(),
    });
    if (violated()) await logUnsettled(aws, log);
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
