import type { AgentDeps } from '../../../agent/deps.ts';
import { createLog, type LogRecord } from '../../../agent/log/log.ts';
import type { CommitOutcome, Mailbox } from '../../../agent/mailbox.ts';
import type { CommitRecordState } from '../../../contract/mailbox.ts';
import { type Role, requestIdOf, type StageName } from '../../../contract/names.ts';
import { Policy } from '../../../contract/policy.ts';
import { Report } from '../../../contract/reports.ts';
import type { AgentTask, TaskOf } from '../../../contract/tasks.ts';
import { CONTRACT_VERSION } from '../../../contract/version.ts';
import { simulatedFacts } from '../../../simulator/hosts/facts.ts';
import { SimulatedMovers } from '../../../simulator/hosts/movers.ts';
import { SimulatedObservers } from '../../../simulator/hosts/observers.ts';
import { connect } from '../../../simulator/hypervisor/connection.ts';
import { SimulatedFleet } from '../../../simulator/hypervisor/fleet.ts';
import { VirtualClock } from '../../../simulator/virtual-clock.ts';

export const VM = 'web01';
export const MIGRATION = 'web01-5f2c';

/** A mailbox in memory, with switches for what AWS can do wrong. */
export class MemoryMailbox implements Mailbox {
  readonly tasks = new Map<string, { task: unknown; claimed: boolean }>();
  readonly reports = new Map<string, Report>();
  /** Every report written, in order. */
  readonly written: Report[] = [];
  commitRecord: CommitRecordState | undefined = 'OPEN';
  committedBy: string | undefined;
  awsAway = false;
  /** Called in place of the commit; `proceed` makes it. */
  onCommit: ((proceed: () => CommitOutcome) => Promise<CommitOutcome>) | undefined;

  async readTask(requestId: string): Promise<unknown> {
    this.#mustAnswer();
    return this.tasks.get(requestId)?.task;
  }

  async claim(requestId: string): Promise<{ task: unknown } | undefined> {
    this.#mustAnswer();
    const item = this.tasks.get(requestId);
    if (item === undefined || item.claimed) return undefined;
    item.claimed = true;
    return { task: item.task };
  }

  async report(report: Report): Promise<boolean> {
    this.#mustAnswer();
    const before = this.reports.get(report.requestId);
    if (before !== undefined && (before.kind !== 'progress' || before.sequence >= report.sequence)) return false;
    this.reports.set(report.requestId, Report.parse(report));
    this.written.push(report);
    return true;
  }

  async ended(requestId: string): Promise<boolean> {
    this.#mustAnswer();
    return (this.reports.get(requestId)?.kind ?? 'progress') !== 'progress';
  }

  async readCommitRecord(): Promise<CommitRecordState | undefined> {
    this.#mustAnswer();
    return this.commitRecord;
  }

  async commit(_migrationId: string, moverId: string): Promise<CommitOutcome> {
    const proceed = (): CommitOutcome => {
      if (this.commitRecord !== 'OPEN') return this.committedBy === moverId ? 'committed' : 'revoked';
      this.commitRecord = 'COMMITTED';
      this.committedBy = moverId;
      return 'committed';
    };
    if (this.onCommit !== undefined) return this.onCommit(proceed);
    return this.awsAway ? 'unknown' : proceed();
  }

  #mustAnswer(): void {
    if (this.awsAway) throw new Error('AWS is away');
  }
}

/** Two hosts, a VM on the first, and a mailbox for each. */
export class AgentTestEnvironment {
  readonly clock = new VirtualClock();
  readonly fleet = new SimulatedFleet(this.clock);
  readonly source = this.fleet.addHost({ hostId: 'kvm-a' });
  readonly destination = this.fleet.addHost({ hostId: 'kvm-b' });
  readonly mailbox = new MemoryMailbox();
  readonly images = { source: this.source.images, destination: this.destination.images };
  readonly logged: LogRecord[] = [];
  readonly #log = createLog((record) => this.logged.push(record), this.clock);
  readonly movers: SimulatedMovers;
  readonly #destinationMovers: SimulatedMovers;
  readonly #observers: Record<Role, SimulatedObservers>;

  constructor(guest: { dirtyMiBps?: number; workingSetMiB?: number; memoryMiB?: number; address?: string } = {}) {
    this.fleet.addGuest('kvm-a', { name: VM, ...guest });
    this.movers = this.#movers('kvm-a');
    this.#destinationMovers = this.#movers('kvm-b');
    this.#observers = {
      source: new SimulatedObservers(this.#own('kvm-a')),
      destination: new SimulatedObservers(this.#own('kvm-b')),
    };
  }

  deps(role: Role = 'source'): AgentDeps {
    const hostId = role === 'source' ? 'kvm-a' : 'kvm-b';
    return {
      ...this.#own(hostId),
      movers: role === 'source' ? this.movers : this.#destinationMovers,
      observers: this.#observers[role],
    };
  }

  task<S extends StageName>(stage: S, extra: Record<string, unknown> = {}, attempt = 1): TaskOf<S> {
    const role = (extra.role as Role | undefined) ?? 'source';
    const both = {
      vm: VM,
      source: { ...this.source.spec },
      destination: { ...this.destination.spec },
      policy: Policy.parse({}),
      plan: { method: 'plain', postCopyAllowed: false, connections: 1 },
      reservedMiB: 0,
      announceMs: 0,
      limitSeconds: 4_500,
    };
    return {
      version: CONTRACT_VERSION,
      requestId: requestIdOf(MIGRATION, stage, role, attempt),
      migrationId: MIGRATION,
      stage,
      role,
      hostId: role === 'source' ? 'kvm-a' : 'kvm-b',
      issuedAt: new Date(this.clock.now()).toISOString(),
      expiresAt: new Date(this.clock.now() + 60_000).toISOString(),
      ...both,
      ...extra,
    } as unknown as TaskOf<S>;
  }

  give(task: AgentTask): string {
    this.mailbox.tasks.set(task.requestId, { task, claimed: false });
    return task.requestId;
  }

  reportOf(stage: StageName, role: Role = 'source', attempt = 1): Report | undefined {
    return this.mailbox.reports.get(requestIdOf(MIGRATION, stage, role, attempt));
  }

  /** The state of the VM on a host, in libvirt's words. */
  at(host: 'source' | 'destination'): string {
    return this[host].copies.get(VM)?.detail ?? 'absent';
  }

  /** Moves the clock until `holds`, by steps of 10 ms, for at most `limitMs`. */
  async until(holds: () => boolean, limitMs = 120_000): Promise<void> {
    const end = this.clock.now() + limitMs;
    while (!holds()) {
      if (this.clock.now() >= end) throw new Error(`did not come to hold within ${limitMs} ms: ${holds}`);
      await this.clock.advance(10);
    }
  }

  #movers(hostId: string): SimulatedMovers {
    return new SimulatedMovers(this.#own(hostId));
  }

  #own(hostId: string) {
    return {
      clock: this.clock,
      log: this.#log,
      mailbox: this.mailbox,
      localUri: 'qemu:///system',
      facts: simulatedFacts(this.fleet, hostId),
      images: this.images[hostId === 'kvm-a' ? 'source' : 'destination'],
      connect: (uri: string) => connect(this.fleet, hostId, uri),
    };
  }
}
