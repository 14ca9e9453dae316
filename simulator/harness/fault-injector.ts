import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { reportKey } from '../../contract/mailbox.ts';
import { parseRequestId } from '../../contract/names.ts';
import { CONTRACT_VERSION } from '../../contract/version.ts';
import type { JsonObject } from '../../embedded-aws/core/service.ts';
import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import type { NodeExecutor } from '../../embedded-aws/ssm/node.ts';
import type { ManagedHost } from '../hosts/managed-host.ts';
import type { Boundary } from '../hosts/process.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import {
  type AwsCall,
  FORGEABLE_STAGES,
  forgedResult,
  migrationIdIn,
  pointOf,
  throttlingError,
  timeoutError,
  transientError,
} from './aws-faults.ts';
import { type Fault, Schedule } from './fault-plan.ts';

/** A migration as the simulation requested it. */
export interface RequestedMigration {
  vm: string;
  source: string;
  destination: string;
}

export interface FaultInjectorOptions {
  plan: readonly Fault[];
  fleet: SimulatedFleet;
  aws: EmbeddedAws;
  hosts: ReadonlyMap<string, ManagedHost>;
  findMigration(migrationId: string): RequestedMigration | undefined;
  /** Called before a fault kills a VM's QEMU. */
  onHarm(vm: string): void;
  /** Called when a fault is injected; `where` says where. */
  onInjected(fault: Fault, where: string): void;
}

/** Injects the planned faults, each when its point is reached. */
export class FaultInjector {
  readonly #options: FaultInjectorOptions;
  readonly #schedule: Schedule;
  readonly #forgesUntil = new Map<string, number>();
  readonly #throttledUntil = new Map<string, number>();
  /** The number of reasons for which each host's SSM agent is disconnected. It connects again when none is left. */
  readonly #offlineReasons = new Map<string, number>();

  constructor(options: FaultInjectorOptions) {
    this.#options = options;
    this.#schedule = new Schedule(options.plan);
  }

  /** Whether a host's SSM agent is not connected. */
  isOffline(hostId: string): boolean {
    return (this.#offlineReasons.get(hostId) ?? 0) > 0;
  }

  /** Runs around every call of AWS. */
  async call(call: AwsCall, next: () => Promise<JsonObject>): Promise<JsonObject> {
    const point = pointOf(call);
    if (point === undefined) return await next();
    if (point === 'stream') return this.#deliver(next);
    const { fleet } = this.#options;
    const hostId = this.#hostOf(call);
    if (hostId !== undefined && !fleet.network.isUp(hostId, 'aws')) return this.#unreachable(call);

    for (const fault of this.#schedule.next(point, false)) {
      if (fault.kind === 'aws-error') throw this.#inject(fault, call, transientError(call, fault.choice));
      if (fault.kind === 'aws-throttled') {
        this.#throttledUntil.set(point, fleet.clock.now() + (fault.ms ?? 0));
        this.#inject(fault, call, undefined);
      }
      await this.#injectAround(fault, call, point);
    }
    if ((this.#throttledUntil.get(point) ?? 0) > fleet.clock.now()) throw throttlingError(call);

    const answer = await next();
    for (const fault of this.#schedule.next(point, true)) {
      if (fault.kind === 'aws-answer-lost') throw this.#inject(fault, call, timeoutError(call));
      if (fault.kind === 'function-crash') return this.#inject(fault, call, new Promise<JsonObject>(() => {}));
      await this.#injectAround(fault, call, point);
    }
    if (hostId !== undefined && !fleet.network.isUp(hostId, 'aws')) return this.#unreachable(call);
    return answer;
  }

  async #injectAround(fault: Fault, call: AwsCall, point: string): Promise<void> {
    const migrationId = migrationIdIn(call);
    switch (fault.kind) {
      case 'aws-delay':
        this.#inject(fault, call, undefined);
        await this.#options.fleet.clock.sleep(fault.ms ?? 0);
        return;
      case 'cancel':
      case 'execution-stopped':
        if (migrationId !== undefined) await this.#actAsOperator(fault, migrationId);
        return;
      case 'partition': {
        const hostId = this.#hostOf(call);
        if (hostId === undefined) return;
        this.#options.onInjected(fault, `${hostId} and AWS, at ${point}`);
        this.#cut(hostId, 'aws', fault.ms);
      }
    }
  }

  async #unreachable(call: AwsCall): Promise<never> {
    await this.#options.fleet.clock.sleep(2_000);
    throw timeoutError(call);
  }

  async #deliver(next: () => Promise<JsonObject>): Promise<JsonObject> {
    for (const fault of this.#schedule.next('stream', false)) {
      this.#options.onInjected(fault, '');
      if (fault.kind === 'stream-duplicate') await next();
      await this.#options.fleet.clock.sleep(fault.ms ?? 0);
    }
    return next();
  }

  /** Runs around every command that a host is given. */
  command(hostId: string, executor: NodeExecutor): NodeExecutor {
    const { fleet } = this.#options;
    return {
      run: async (step, signal) => {
        const requestId = step.env.SSM_requestId ?? '';
        let run = () => executor.run(step, signal);
        for (const fault of this.#schedule.next('command', false)) {
          this.#options.onInjected(fault, `${requestId} at ${hostId}`);
          // SSM does not know of this run, so it cannot end it.
          const detached = () => executor.run(step, new AbortController().signal);
          if (fault.kind === 'command-lost') run = () => new Promise(() => {});
          if (fault.kind === 'command-late') run = () => fleet.clock.sleep(fault.ms ?? 0).then(detached);
          if (fault.kind === 'command-twice') void fleet.clock.sleep(fault.ms ?? 0).then(detached);
          if (fault.kind === 'forged-report') {
            const stage = FORGEABLE_STAGES[Math.floor(fault.choice * FORGEABLE_STAGES.length)]!;
            this.#forgesUntil.set(`${this.#peerOf(requestId, hostId)} ${stage}`, fleet.clock.now() + (fault.ms ?? 0));
          }
        }
        this.#forge(requestId, hostId);
        return run();
      },
    };
  }

  /** Runs at every step of an agent or a mover. */
  step(boundary: Boundary): void {
    const { process, call, moment, atDaemon } = boundary;
    if (this.#schedule.isEmpty || (atDaemon && process.kind !== 'mover')) return;
    for (const fault of this.#schedule.next(`${atDaemon ? 'daemon' : process.kind}:${call}`, moment === 'after')) {
      const migration = this.#options.findMigration(process.migrationId);
      if (migration !== undefined) this.#injectAt(fault, process, migration);
    }
  }

  #injectAt(fault: Fault, process: Boundary['process'], { vm, source, destination }: RequestedMigration): void {
    const { fleet, hosts, onInjected, onHarm } = this.#options;
    const at = `${fault.after ? 'after' : 'before'} ${fault.point} of ${process.migrationId}`;
    const either = fault.choice < 0.5 ? source : destination;
    switch (fault.kind) {
      case 'agent-killed':
      case 'mover-killed':
        onInjected(fault, `on ${process.hostId}, ${at}`);
        hosts.get(process.hostId)?.node.kill(process);
        return;
      case 'process-stalled':
        onInjected(fault, `on ${process.hostId}, ${at}`);
        process.stall(fault.ms ?? 0);
        return;
      case 'libvirtd-restarted':
        onInjected(fault, `on ${either}, ${at}`);
        fleet.host(either).restartDaemon();
        return;
      case 'qemu-killed':
        if (!fleet.host(either).copies.has(vm)) return;
        onInjected(fault, `of ${vm} on ${either}, ${at}`);
        onHarm(vm);
        fleet.host(either).killQemu(vm);
        return;
      case 'postcopy-broken': {
        const stream = fleet.host(source).copies.get(vm)?.postCopy;
        if (stream === undefined || stream.broken) return;
        onInjected(fault, `of ${vm}, ${at}`);
        stream.break();
        return;
      }
      case 'host-crashed':
        if (!fleet.host(either).reachable) return;
        onInjected(fault, `${either}, ${at}`);
        this.#crash(either, fault.ms);
        return;
      case 'node-offline':
        onInjected(fault, `${either}, ${at}`);
        this.#offline(either, fault.ms);
        return;
      case 'cancel':
        void this.#actAsOperator(fault, process.migrationId);
        return;
      case 'partition': {
        const pairs = [
          [source, destination],
          [source, 'aws'],
          [destination, 'aws'],
        ] as const;
        const [a, b] = pairs[Math.floor(fault.choice * pairs.length)]!;
        onInjected(fault, `${a} and ${b}, ${at}`);
        this.#cut(a, b, fault.ms);
      }
    }
  }

  #crash(hostId: string, ms: number | undefined): void {
    const { fleet, hosts, onHarm } = this.#options;
    const host = fleet.host(hostId);
    // An incoming copy of a pre-copy is not the VM, which must survive this. An incoming copy of a post-copy is half of the VM.
    for (const [vm, { state, postCopy }] of host.copies) {
      if (state === 'incoming' ? postCopy !== undefined : state !== 'shutoff') onHarm(vm);
    }
    hosts.get(hostId)!.node.killAll();
    host.losePower();
    this.#offline(hostId, ms);
    if (ms !== undefined) void fleet.clock.sleep(ms).then(() => host.becomeReachable());
  }

  #cut(a: string, b: string, ms: number | undefined): void {
    const { fleet } = this.#options;
    if (!fleet.network.isUp(a, b)) return;
    fleet.network.cut(a, b);
    if (b === 'aws') this.#offline(a, ms);
    if (ms !== undefined) void fleet.clock.sleep(ms).then(() => fleet.network.heal(a, b));
  }

  #offline(hostId: string, ms: number | undefined): void {
    const { aws, fleet, hosts } = this.#options;
    const change = (by: number) => {
      const reasons = (this.#offlineReasons.get(hostId) ?? 0) + by;
      this.#offlineReasons.set(hostId, reasons);
      aws.setNodeOnline(hosts.get(hostId)!.nodeId, reasons === 0);
    };
    change(1);
    if (ms !== undefined) void fleet.clock.sleep(ms).then(() => change(-1));
  }

  async #actAsOperator(fault: Fault, migrationId: string): Promise<void> {
    const { aws } = this.#options;
    this.#options.onInjected(fault, migrationId);
    if (fault.kind === 'execution-stopped') {
      const executionArn = `${String(aws.outputs.MigrateMachine).replace(':stateMachine:', ':execution:')}:${migrationId}`;
      await aws.callAws('states', 'StopExecution', { executionArn }, aws.adminCaller).catch(() => {});
      return;
    }
    const headers = { authorization: 'AWS4-HMAC-SHA256 Credential=local/' };
    const path = `/migrations/${migrationId}/cancel`;
    // The answer is not awaited: it may take longer than the migration.
    void aws.inProcess().requestHandler.handle({ method: 'POST', path, headers });
  }

  #peerOf(requestId: string, hostId: string): string | undefined {
    const migration = this.#options.findMigration(parseRequestId(requestId)!.migrationId);
    return migration && (migration.source === hostId ? migration.destination : migration.source);
  }

  /** A host can write to its own mailbox only: it forges a report there for a task that its peer was given. */
  #forge(requestId: string, asked: string): void {
    const { aws, fleet, hosts } = this.#options;
    const { migrationId, stage, role } = parseRequestId(requestId)!;
    const forger = this.#peerOf(requestId, asked);
    if (forger === undefined || (this.#forgesUntil.get(`${forger} ${stage}`) ?? 0) <= fleet.clock.now()) return;
    const result = forgedResult(stage as (typeof FORGEABLE_STAGES)[number]);
    const { dynamo, mailbox } = hosts.get(forger)!;
    const about = { version: CONTRACT_VERSION, requestId, migrationId, stage, role, sequence: 1_000_000 };
    const report = { ...about, at: new Date(fleet.clock.now()).toISOString(), kind: 'succeeded', result };
    const write = { TableName: aws.outputs.MailboxTable, Item: { ...reportKey(mailbox, requestId), report } };
    void dynamo.send(new PutCommand(write)).catch(() => {});
  }

  #hostOf({ caller }: AwsCall): string | undefined {
    if (!caller.userId.includes(':mi-')) return undefined;
    for (const [hostId, { mailbox }] of this.#options.hosts) if (mailbox === caller.userId) return hostId;
    return undefined;
  }

  #inject<T>(fault: Fault, { service, operation }: AwsCall, error: T): T {
    this.#options.onInjected(fault, `${service}:${operation} by ${fault.point}`);
    return error;
  }
}
