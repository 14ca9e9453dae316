import { type CommitRecordState, parseMailboxItem } from '../../contract/mailbox.ts';
import { parseRequestId } from '../../contract/names.ts';
import type { Item } from '../../embedded-aws/dynamodb/values.ts';
import { HOSTS, vmOfLock } from '../../lambdas/platform/control-keys.ts';
import { parseExecutionName } from '../../lambdas/platform/execution-names.ts';
import type { Boundary } from '../hosts/process.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import type { Invariant, Violation } from './invariants.ts';
import { VmInvariants } from './vm-invariants.ts';

/** What is checked of a migration's record. */
export interface RecordView {
  migrationId: string;
  vm: string;
  source: string;
  destination: string;
  status: string;
  runsOn?: string;
  endedAt?: string;
  /** The message of a failure. */
  failure?: string;
}

/** Calls by which a mover changes something on a host. */
const MOVER_ACTIONS: readonly string[] = ['begin', 'prepare', 'perform', 'finish', 'confirm'];

/** Recovery inspects hosts more often than this. */
const CALM_MS = 10 * 60_000;

/**
 * Checks the invariants while a world runs. It keeps what the tables contain, from every change of them: they can't be read within a
 * change.
 */
export class InvariantChecker {
  readonly violations: Violation[] = [];
  readonly commitRecords = new Map<string, CommitRecordState>();
  readonly records = new Map<string, RecordView>();
  /** VMs whose QEMU, or a copy of it, was killed: they may be gone. */
  readonly harmed = new Set<string>();
  readonly vms: VmInvariants;
  /** When the last fault ends, in ms since the epoch: from then on everything answers that still exists. */
  troubledUntil = 0;
  readonly #locks = new Map<string, string>();
  /** Migrations whose mover is dead according to the source. */
  readonly #fenced = new Set<string>();
  readonly #ran = new Set<string>();
  /** All items of the tables, by partition key and sort key. */
  readonly #items = new Map<string, Map<string, Item>>();
  readonly #claimedAt = new Map<string, number>();
  /** The deadline for the start of each task. */
  readonly #expiresAt = new Map<string, number>();
  readonly #fleet: SimulatedFleet;
  readonly #log: (message: string) => void;

  constructor(fleet: SimulatedFleet, log: (message: string) => void) {
    this.#fleet = fleet;
    this.#log = log;
    this.vms = new VmInvariants({
      fleet,
      harmed: this.harmed,
      log,
      violated: (invariant, detail) => this.violated(invariant, detail),
      lockOwner: (vm) => this.#locks.get(vm),
      isCommitted: (vm, destination) => this.#isCommitted(vm, destination),
    });
  }

  get items(): Item[] {
    return [...this.#items.values()].flatMap((partition) => [...partition.values()]);
  }

  violated(invariant: Invariant, detail: string): void {
    this.#log(`VIOLATION ${invariant}: ${detail}`);
    this.violations.push({ invariant, detail });
  }

  #isCommitted(vm: string, destination: string): boolean {
    return [...this.records.values()].some(
      (record) =>
        record.vm === vm &&
        record.destination === destination &&
        this.commitRecords.get(record.migrationId) === 'COMMITTED',
    );
  }

  /** Checks that a migration that needs an operator could not have been decided without one. */
  #checkOperatorIsNeeded({ migrationId, vm, failure }: RecordView): void {
    const resumable = this.#fleet.canResumePostCopy || !this.vms.postCopied.has(migrationId);
    if (this.harmed.has(vm) || !resumable || this.#fleet.clock.now() - this.troubledUntil < CALM_MS) return;
    this.violated(
      'an operator is asked only when nothing else can decide',
      `${migrationId} of ${vm} could have been decided: ${failure}`,
    );
  }

  /** Called after every run of the agent that was not killed. */
  ran(requestId: string, outcome: string): void {
    if (outcome === 'claimed-before') return;
    if (this.#ran.has(requestId)) this.violated('a task runs once', `${requestId} ran twice`);
    this.#ran.add(requestId);
  }

  /** Called at every step of an agent or a mover. */
  stepped({ process, call, moment, atDaemon }: Boundary): void {
    if (process.kind !== 'mover' || moment === 'after' || atDaemon || !MOVER_ACTIONS.includes(call)) return;
    if (this.#fenced.has(process.migrationId)) {
      this.violated('a fenced mover does nothing more', `the mover of ${process.migrationId} calls ${call}`);
    }
  }

  /** Called at every change of the tables. */
  itemChanged(before: Item | undefined, after: Item | undefined): void {
    const { pk, sk } = (after ?? before)!;
    const sortKey = String(sk?.S);
    this.#store(String(pk?.S), sortKey, after);
    const { kind, id } = parseMailboxItem(sortKey) ?? { kind: sortKey, id: '' };
    switch (kind) {
      case 'task':
        if (after !== undefined) this.#taskChanged(id, before, after);
        return;
      case 'report':
        if (after !== undefined) this.#reported(id, after);
        return;
      case 'commit':
        if (after !== undefined) this.#commitRecordChanged(id, after);
        return;
      case 'LOCK':
        this.#lockChanged(vmOfLock(String(pk?.S)), after);
        return;
      case 'RECORD':
        if (after !== undefined && !OUTCOME.every((part) => after[part] === before?.[part])) this.#recordChanged(after);
        return;
    }
    if (pk?.S === HOSTS && after !== undefined) this.#hostChanged(sortKey, before, after);
  }

  #store(pk: string, sk: string, item: Item | undefined): void {
    const partition = this.#items.get(pk) ?? new Map<string, Item>();
    this.#items.set(pk, partition);
    if (item === undefined) partition.delete(sk);
    else partition.set(sk, item);
  }

  #taskChanged(requestId: string, before: Item | undefined, { task, claimedAt }: Item): void {
    if (before === undefined) {
      this.#expiresAt.set(requestId, Date.parse(textIn(task?.M, 'expiresAt') ?? ''));
    }
    if (claimedAt !== undefined && before?.claimedAt === undefined) {
      this.#claimedAt.set(requestId, this.#fleet.clock.now());
    }
  }

  #reported(requestId: string, { report }: Item): void {
    const claimedAt = this.#claimedAt.get(requestId);
    if (textIn(report?.M, 'kind') !== 'succeeded' || claimedAt === undefined) return;
    const expiresAt = this.#expiresAt.get(requestId);
    const { migrationId, stage, role } = parseRequestId(requestId)!;
    if (stage === 'inspect' && role === 'source' && !JSON.stringify(report).includes('"not-asked"'))
      this.#fenced.add(migrationId);
    if (expiresAt !== undefined && claimedAt > expiresAt) {
      this.violated('an expired task does not start', `${requestId} started ${claimedAt - expiresAt} ms late`);
    }
  }

  #commitRecordChanged(migrationId: string, item: Item): void {
    const state = item.state?.S as CommitRecordState | undefined;
    const before = this.commitRecords.get(migrationId);
    if (state === undefined || state === before) return;
    this.#log(`commit record of ${migrationId}: ${state}`);
    if (before !== undefined && before !== 'OPEN') {
      this.violated('a commit record is decided once', `that of ${migrationId} was ${before} and is ${state}`);
    }
    this.commitRecords.set(migrationId, state);
  }

  #lockChanged(vm: string, item: Item | undefined): void {
    const before = this.#locks.get(vm);
    const now = item?.migrationId?.S;
    if (now === before) return;
    if (now === undefined) this.#locks.delete(vm);
    else this.#locks.set(vm, now);
    // A cleanup holds the lock under the name of its execution.
    if (before !== undefined && this.records.get(parseExecutionName(before).migrationId)?.endedAt === undefined) {
      this.violated('a lock stays with its owner', `the lock of ${vm} was taken from ${before} before its end`);
    }
  }

  #hostChanged(hostId: string, before: Item | undefined, after: Item): void {
    for (const slots of SLOTS) {
      if (after[slots] === before?.[slots]) continue;
      const taken = after[slots]?.SS?.length ?? 0;
      const limit = Number(textIn(after.limits?.M, slots));
      if (taken > limit)
        this.violated(
          'slots never exceed the limits of a host',
          `${taken} of ${limit} ${slots} slots of ${hostId} are taken`,
        );
    }
    if (after.state?.S !== 'IN_MAINTENANCE' || before?.state?.S === 'IN_MAINTENANCE') return;
    this.#log(`${hostId} is in maintenance`);
    for (const [vm, { state }] of this.#fleet.host(hostId).copies) {
      if (state !== 'shutoff') this.violated('a host in maintenance is empty', `${vm} is ${state} on ${hostId}`);
    }
  }

  #recordChanged(item: Item): void {
    const text = (name: string) => item[name]?.S;
    const [runsOn, endedAt] = [text('runsOn'), text('endedAt')];
    const failure = textIn(item.failure?.M, 'message');
    const seen: RecordView = {
      migrationId: text('migrationId')!,
      vm: text('vm')!,
      source: text('source')!,
      destination: text('destination')!,
      status: text('status')!,
      ...(runsOn !== undefined && { runsOn }),
      ...(endedAt !== undefined && { endedAt }),
      ...(failure !== undefined && { failure }),
    };
    const before = this.records.get(seen.migrationId);
    this.records.set(seen.migrationId, seen);
    if (seen.status === 'NEEDS_OPERATOR' && before?.status !== 'NEEDS_OPERATOR') this.#checkOperatorIsNeeded(seen);
    if (seen.status === 'SUCCEEDED' && this.vms.halved.has(seen.migrationId)) {
      this.violated(
        'the record names the host that runs the VM',
        `${seen.migrationId} SUCCEEDED, although half of ${seen.vm} was lost`,
      );
    }
    if (endedAt !== undefined && before?.endedAt === undefined) {
      this.#log(`${seen.migrationId} ended ${seen.status}${runsOn === undefined ? '' : `, ${seen.vm} on ${runsOn}`}`);
    }
    if (before?.endedAt !== undefined && JSON.stringify(before) !== JSON.stringify(seen)) {
      const [was, is] = [before, seen].map(({ status, endedAt: at }) => `${status} at ${at}`);
      this.violated('the first outcome is final', `${seen.migrationId} was ${was} and is ${is}`);
    }
  }
}

/** The checked attributes of a record. Its progress, which changes often, is not one. */
const OUTCOME = ['status', 'runsOn', 'endedAt', 'failure'];

const SLOTS = ['outgoing', 'incoming', 'cutovers'] as const;

/** A string, or a number's text, in a map of attributes. */
function textIn(map: Item | undefined, name: string): string | undefined {
  const value = map?.[name];
  return value?.S ?? value?.N;
}
