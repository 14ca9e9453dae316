import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { reportKey } from '../../contract/mailbox.ts';
import { CONTRACT_VERSION } from '../../contract/version.ts';
import type { JsonObject } from '../../embedded-aws/core/service.ts';
import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import type { NodeExecutor } from '../../embedded-aws/ssm/node.ts';
import type { ManagedHost } from '../hosts/managed-host.ts';
import type { Boundary } from '../hosts/process.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import {
  type Call,
  forgedResult,
  LIES,
  migrationOf,
  noAnswer,
  passingError,
  pointOf,
  throttled,
} from './aws-faults.ts';
import { type Fault, Schedule } from './fault-plan.ts';

export interface Route {
  vm: string;
  source: string;
  destination: string;
}

export interface InjectorOptions {
  plan: readonly Fault[];
  fleet: SimulatedFleet;
  aws: EmbeddedAws;
  hosts: ReadonlyMap<string, ManagedHost>;
  routeOf(migrationId: string): Route | undefined;
  /** Told of a VM whose QEMU is about to be killed. */
  harm(vm: string): void;
  injected(fault: Fault, what: string): void;
}

/** Makes the planned faults happen, each at its moment. */
export class Injector {
  readonly #options: InjectorOptions;
  readonly #schedule: Schedule;
  readonly #liesUntil = new Map<string, number>();
  readonly #throttledUntil = new Map<string, number>();
  /** Why each host's SSM agent is away: it is back when no reason is left. */
  readonly #away = new Map<string, number>();

  constructor(options: InjectorOptions) {
    this.#options = options;
    this.#schedule = new Schedule(options.plan);
  }

  /** Whether a host's SSM agent is not connected. */
  isAway(hostId: string): boolean {
    return (this.#away.get(hostId) ?? 0) > 0;
  }

  /** Around every call of AWS. */
  async call(call: Call, next: () => Promise<JsonObject>): Promise<JsonObject> {
    const point = pointOf(call);
    if (point === undefined) return await next();
    if (point === 'stream') return this.#deliver(next);
    const { fleet } = this.#options;
    const hostId = this.#hostOf(call);
    if (hostId !== undefined && !fleet.network.isUp(hostId, 'aws')) return this.#outOfReach(call);

    for (const fault of this.#schedule.next(point, false)) {
      if (fault.kind === 'aws-error') throw this.#say(fault, call, passingError(call, fault.choice));
      if (fault.kind === 'aws-throttled') {
        this.#throttledUntil.set(point, fleet.clock.now() + (fault.ms ?? 0));
        this.#say(fault, call, undefined);
      }
      await this.#perhapsLater(fault, call, point);
    }
    if ((this.#throttledUntil.get(point) ?? 0) > fleet.clock.now()) throw throttled(call);

    const answer = await next();
    for (const fault of this.#schedule.next(point, true)) {
      if (fault.kind === 'aws-answer-lost') throw this.#say(fault, call, noAnswer(call));
      if (fault.kind === 'function-crash') return this.#say(fault, call, new Promise<JsonObject>(() => {}));
      await this.#perhapsLater(fault, call, point);
    }
    if (hostId !== undefined && !fleet.network.isUp(hostId, 'aws')) return this.#outOfReach(call);
    return answer;
  }

  async #perhapsLater(fault: Fault, call: Call, point: string): Promise<void> {
    const migrationId = migrationOf(call);
    switch (fault.kind) {
      case 'aws-delay':
        this.#say(fault, call, undefined);
        await this.#options.fleet.clock.sleep(fault.ms ?? 0);
        return;
      case 'cancel':
      case 'execution-stopped':
        if (migrationId !== undefined) await this.#byHand(fault, migrationId);
        return;
      case 'partition': {
        const hostId = this.#hostOf(call);
        if (hostId === undefined) return;
        this.#options.injected(fault, `${hostId} and AWS, at ${point}`);
        this.#cut(hostId, 'aws', fault.ms);
      }
    }
  }

  async #outOfReach(call: Call): Promise<never> {
    await this.#options.fleet.clock.sleep(2_000);
    throw noAnswer(call);
  }

  async #deliver(next: () => Promise<JsonObject>): Promise<JsonObject> {
    for (const fault of this.#schedule.next('stream', false)) {
      this.#options.injected(fault, '');
      if (fault.kind === 'stream-duplicate') await next();
      await this.#options.fleet.clock.sleep(fault.ms ?? 0);
    }
    return next();
  }

  /** Around every command a host is given. */
  command(hostId: string, executor: NodeExecutor): NodeExecutor {
    const { fleet } = this.#options;
    return {
      run: async (step, signal) => {
        const requestId = step.env.SSM_requestId ?? '';
        let run = () => executor.run(step, signal);
        for (const fault of this.#schedule.next('command', false)) {
          this.#options.injected(fault, `${requestId} at ${hostId}`);
          // It is not SSM any more that runs it, nor SSM that would kill it.
          const unwatched = () => executor.run(step, new AbortController().signal);
          if (fault.kind === 'command-lost') run = () => new Promise(() => {});
          if (fault.kind === 'command-late') run = () => fleet.clock.sleep(fault.ms ?? 0).then(unwatched);
          if (fault.kind === 'command-twice') void fleet.clock.sleep(fault.ms ?? 0).then(unwatched);
          if (fault.kind === 'forged-report') {
            const about = LIES[Math.floor(fault.choice * LIES.length)]!;
            this.#liesUntil.set(`${this.#peerOf(requestId, hostId)} ${about}`, fleet.clock.now() + (fault.ms ?? 0));
          }
        }
        this.#forge(requestId, hostId);
        return run();
      },
    };
  }

  /** At every step of an agent or a mover. */
  step(boundary: Boundary): void {
    const { process, call, moment, atDaemon } = boundary;
    if (this.#schedule.isEmpty || (atDaemon && process.kind !== 'mover')) return;
    for (const fault of this.#schedule.next(`${atDaemon ? 'daemon' : process.kind}:${call}`, moment === 'after')) {
      const route = this.#options.routeOf(process.migrationId);
      if (route !== undefined) this.#strike(fault, process, route);
    }
  }

  #strike(fault: Fault, process: Boundary['process'], { vm, source, destination }: Route): void {
    const { fleet, hosts, injected, harm } = this.#options;
    const at = `${fault.after ? 'after' : 'before'} ${fault.point} of ${process.migrationId}`;
    const either = fault.choice < 0.5 ? source : destination;
    switch (fault.kind) {
      case 'agent-killed':
      case 'mover-killed':
        injected(fault, `on ${process.hostId}, ${at}`);
        hosts.get(process.hostId)?.node.kill(process);
        return;
      case 'process-stalled':
        injected(fault, `on ${process.hostId}, ${at}`);
        process.stall(fault.ms ?? 0);
        return;
      case 'libvirtd-restarted':
        injected(fault, `on ${either}, ${at}`);
        fleet.host(either).restartDaemon();
        return;
      case 'qemu-killed':
        if (!fleet.host(either).copies.has(vm)) return;
        injected(fault, `of ${vm} on ${either}, ${at}`);
        harm(vm);
        fleet.host(either).killQemu(vm);
        return;
      case 'postcopy-broken': {
        const stream = fleet.host(source).copies.get(vm)?.postCopy;
        if (stream === undefined || stream.broken) return;
        injected(fault, `of ${vm}, ${at}`);
        stream.break();
        return;
      }
      case 'host-crashed':
        if (!fleet.host(either).reachable) return;
        injected(fault, `${either}, ${at}`);
        this.#crash(either, fault.ms);
        return;
      case 'node-offline':
        injected(fault, `${either}, ${at}`);
        this.#offline(either, fault.ms);
        return;
      case 'cancel':
        void this.#byHand(fault, process.migrationId);
        return;
      case 'partition': {
        const pairs = [
          [source, destination],
          [source, 'aws'],
          [destination, 'aws'],
        ] as const;
        const [a, b] = pairs[Math.floor(fault.choice * pairs.length)]!;
        injected(fault, `${a} and ${b}, ${at}`);
        this.#cut(a, b, fault.ms);
      }
    }
  }

  #crash(hostId: string, ms: number | undefined): void {
    const { fleet, hosts, harm } = this.#options;
    const host = fleet.host(hostId);
    // A copy that is still received is not the VM: that one must not be lost with it. In a post-copy it is half of it.
    for (const [vm, { state, postCopy }] of host.copies) {
      if (state === 'incoming' ? postCopy !== undefined : state !== 'shutoff') harm(vm);
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
      const reasons = (this.#away.get(hostId) ?? 0) + by;
      this.#away.set(hostId, reasons);
      aws.setNodeOnline(hosts.get(hostId)!.nodeId, reasons === 0);
    };
    change(1);
    if (ms !== undefined) void fleet.clock.sleep(ms).then(() => change(-1));
  }

  async #byHand(fault: Fault, migrationId: string): Promise<void> {
    const { aws } = this.#options;
    this.#options.injected(fault, migrationId);
    if (fault.kind === 'execution-stopped') {
      const executionArn = `${String(aws.outputs.MigrateMachine).replace(':stateMachine:', ':execution:')}:${migrationId}`;
      await aws.callAws('states', 'StopExecution', { executionArn }, aws.adminCaller).catch(() => {});
      return;
    }
    const headers = { authorization: 'AWS4-HMAC-SHA256 Credential=local/' };
    const path = `/migrations/${migrationId}/cancel`;
    // Nobody waits for the answer: it may be slower than the migration.
    void aws.inProcess().requestHandler.handle({ method: 'POST', path, headers });
  }

  #peerOf(requestId: string, hostId: string): string | undefined {
    const route = this.#options.routeOf(requestId.split('.')[0]!);
    return route && (route.source === hostId ? route.destination : route.source);
  }

  /** A host that lies does so in its own mailbox, about what its peer was asked. */
  #forge(requestId: string, asked: string): void {
    const { aws, fleet, hosts } = this.#options;
    const [migrationId, stage = '', role] = requestId.split('.');
    const liar = this.#peerOf(requestId, asked);
    if (liar === undefined || (this.#liesUntil.get(`${liar} ${stage}`) ?? 0) <= fleet.clock.now()) return;
    const result = forgedResult(stage as (typeof LIES)[number]);
    const { dynamo, mailbox } = hosts.get(liar)!;
    const about = { version: CONTRACT_VERSION, requestId, migrationId, stage, role, sequence: 1_000_000 };
    const report = { ...about, at: new Date(fleet.clock.now()).toISOString(), kind: 'succeeded', result };
    const write = { TableName: aws.outputs.MailboxTable, Item: { ...reportKey(mailbox, requestId), report } };
    void dynamo.send(new PutCommand(write)).catch(() => {});
  }

  #hostOf({ caller }: Call): string | undefined {
    if (!caller.userId.includes(':mi-')) return undefined;
    for (const [hostId, { mailbox }] of this.#options.hosts) if (mailbox === caller.userId) return hostId;
    return undefined;
  }

  #say<T>(fault: Fault, { service, operation }: Call, error: T): T {
    this.#options.injected(fault, `${service}:${operation} by ${fault.point}`);
    return error;
  }
}
