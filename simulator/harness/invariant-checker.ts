import type { CommitRecordState } from '../../contract/mailbox.ts';
import type { Item } from '../../embedded-aws/dynamodb/values.ts';
import type { Boundary } from '../hosts/process.ts';
import { type Guest, imageOf, type LocalDisk } from '../hypervisor/copy.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';

/** A promise that was broken. `invariant` is its stable name, `what` says what was seen. */
export interface Violation {
  invariant: string;
  what: string;
}

export interface RecordSeen {
  migrationId: string;
  vm: string;
  source: string;
  destination: string;
  status: string;
  runsOn?: string;
  endedAt?: string;
  /** Of one that failed. */
  why?: string;
}

/** What changes something on a host. */
const ACTS: readonly string[] = ['begin', 'prepare', 'perform', 'finish', 'confirm'];

/** Of a broken post-copy the destination's half is the one that ran, and still does as far as it can. */
const RUNNING: readonly string[] = ['running', 'postcopy-running'];

/** Recovery looks more often than this. */
const CALM_MS = 10 * 60_000;

const migrationOf = (requestId: string): string => requestId.slice(0, requestId.indexOf('.'));

/**
 * What the tables say, kept beside them from every write that changes a commit record, a lock or an outcome; and what must hold of it
 * and of the hosts at every moment.
 */
export class InvariantChecker {
  readonly violations: Violation[] = [];
  readonly commitRecords = new Map<string, CommitRecordState>();
  readonly records = new Map<string, RecordSeen>();
  /** VMs whose QEMU, or a copy of it, was killed: they may be gone. */
  readonly harmed = new Set<string>();
  /** Migrations whose guest went over before all of its memory. */
  readonly postCopied = new Set<string>();
  /** Those of them that have lost a half. */
  readonly #halved = new Set<string>();
  /** Until when faults last: from then on everything answers that still exists. */
  troubledUntil = 0;
  readonly #locks = new Map<string, string>();
  /** The host each VM last ran on. */
  readonly #homes = new Map<string, string>();
  /** VMs with a local disk, also those that are gone. */
  readonly #disks = new Map<string, Pick<Guest, 'persistent'> & { disk: LocalDisk }>();
  /** All hosts that VMs ran on. */
  readonly #ranOn = new Set<string>();
  /** Migrations whose mover, says the source, is dead. */
  readonly #fenced = new Set<string>();
  readonly #carriedOut = new Set<string>();
  /** All there is in the tables, by partition key and sort key. */
  readonly #items = new Map<string, Map<string, Item>>();
  readonly #claimedAt = new Map<string, number>();
  /** By when each task had to be begun. */
  readonly #expiresAt = new Map<string, number>();
  readonly #fleet: SimulatedFleet;
  readonly #say: (what: string) => void;

  constructor(fleet: SimulatedFleet, say: (what: string) => void) {
    this.#fleet = fleet;
    this.#say = say;
  }

  get items(): Item[] {
    return [...this.#items.values()].flatMap((partition) => [...partition.values()]);
  }

  homeOf(vm: string): string | undefined {
    return this.#homes.get(vm);
  }

  everRanOn(vm: string, hostId: string): boolean {
    return this.#ranOn.has(`${vm} on ${hostId}`);
  }

  violated(invariant: string, what: string): void {
    this.#say(`VIOLATION ${invariant}: ${what}`);
    this.violations.push({ invariant, what });
  }

  /** Looks at a VM right after a change of one of its copies. */
  vmChanged(vm: string): void {
    const copies = this.#fleet.hosts().flatMap((host) => {
      const copy = host.copies.get(vm);
      return copy === undefined
        ? []
        : [{ host: host.spec.hostId, state: copy.state, half: copy.postCopy?.whole === false }];
    });
    const running = copies.filter(({ state }) => RUNNING.includes(state)).map(({ host }) => host);
    this.#say(`${vm}: ${copies.map(({ host, state }) => `${state} on ${host}`).join(', ') || 'nowhere'}`);
    if (running.length > 1) this.violated('one running copy', `${vm} runs on ${running.join(' and ')}`);
    this.#mustHaveRoom(vm);
    this.#mustHaveItsDisk(vm);
    const migrationId = this.#locks.get(vm) ?? vm;
    if (copies.some(({ state }) => state === 'postcopy-paused')) this.postCopied.add(migrationId);
    // Half of a VM is one only together with the other half.
    const halves = copies.filter(({ state }) => state === 'incoming' || state.startsWith('postcopy-')).length;
    const alive = halves > 1 || copies.some(({ state }) => state === 'running' || state === 'migrating-paused');
    if (!alive && copies.some(({ half }) => half)) this.#halved.add(migrationId);
    if (!alive && !this.harmed.has(vm)) {
      this.violated('no VM is lost', `${vm} is left without a copy that runs or could be resumed`);
    }
    const [at] = running;
    const home = this.#homes.get(vm);
    if (at === undefined || at === home) return;
    this.#homes.set(vm, at);
    this.#ranOn.add(`${vm} on ${at}`);
    // A transient VM that ended there leaves nothing on the destination to tell that it ever ran.
    const untold = this.harmed.has(vm) && !this.#fleet.host(at).copies.get(vm)!.guest.persistent;
    if (home !== undefined && !untold && !this.#mayRunAt(vm, at)) {
      this.violated('runs only after the commit', `${vm} was started on ${at} without a committed commit record`);
    }
  }

  /** What a VM has written must be somewhere, and where it runs it must be what it reads, and still be there when its QEMU has ended. */
  #mustHaveItsDisk(vm: string): void {
    const [known] = this.#fleet.hosts().flatMap(({ copies }) => copies.get(vm)?.guest ?? []);
    if (known?.disk !== undefined) this.#disks.set(vm, { persistent: known.persistent, disk: known.disk });
    const { disk, persistent } = this.#disks.get(vm) ?? {};
    // A transient VM that ended on the destination leaves nothing to tell that it ever ran, and wrote, there.
    if (disk === undefined || (this.harmed.has(vm) && !persistent)) return;
    const path = imageOf({ name: vm });
    if (!this.#fleet.hosts().some(({ images }) => images.files.get(path)?.holds === disk.newest)) {
      this.violated('no disk is lost', `the newest state of the disk of ${vm} is in no image`);
    }
    for (const { copies, spec, images } of this.#fleet.hosts()) {
      const { guest, state, image } = copies.get(vm) ?? {};
      if (guest === undefined || !RUNNING.includes(state!)) continue;
      if (image === undefined || images.files.get(imageOf(guest)) !== image) {
        this.violated('no image of a running VM is removed', `${vm} runs on ${spec.hostId} without its image`);
      } else if (image.holds !== disk.newest) {
        this.violated('a VM runs on the newest of its disk', `${vm} on ${spec.hostId} does not`);
      }
    }
  }

  /** Whoever lets a VM in must have found room for it; what has begun on a host is its own affair. */
  #mustHaveRoom(vm: string): void {
    for (const { copies, spec } of this.#fleet.hosts()) {
      if (copies.get(vm)?.state !== 'incoming') continue;
      const there = [...copies.values()].filter(({ state }) => state !== 'shutoff');
      const used = there.reduce((sum, { guest }) => sum + guest.memoryMiB, 0);
      if (used > spec.memoryMiB) {
        this.violated(
          'memory is promised once',
          `${vm} comes to ${spec.hostId}, which lacks ${used - spec.memoryMiB} MiB`,
        );
      }
    }
  }

  #mayRunAt(vm: string, host: string): boolean {
    return [...this.records.values()].some(
      (record) =>
        record.vm === vm && record.destination === host && this.commitRecords.get(record.migrationId) === 'COMMITTED',
    );
  }

  /** A VM in the hands of an operator, who is asked only for what nothing else can settle. */
  #mustNeedOperator({ migrationId, vm, why }: RecordSeen): void {
    const mended = this.#fleet.canResumePostCopy || !this.postCopied.has(migrationId);
    if (this.harmed.has(vm) || !mended || this.#fleet.clock.now() - this.troubledUntil < CALM_MS) return;
    this.violated(
      'no VM is left to an operator without need',
      `${migrationId} of ${vm} could have been settled: ${why}`,
    );
  }

  /** Told of every run of the agent that was not killed. */
  ran(requestId: string, outcome: string): void {
    if (outcome === 'claimed-before') return;
    if (this.#carriedOut.has(requestId)) this.violated('an order is carried out once', `${requestId} was twice`);
    this.#carriedOut.add(requestId);
  }

  /** Told of every step of an agent or a mover. */
  stepped({ process, call, moment, atDaemon }: Boundary): void {
    if (process.kind !== 'mover' || moment === 'after' || atDaemon || !ACTS.includes(call)) return;
    if (this.#fenced.has(process.migrationId)) {
      this.violated('a fenced mover is dead', `the mover of ${process.migrationId} goes on to ${call}`);
    }
  }

  /** Told of every change of the tables. */
  itemChanged(before: Item | undefined, after: Item | undefined): void {
    const { pk, sk } = (after ?? before)!;
    const place = String(sk?.S);
    this.#keep(String(pk?.S), place, after);
    const end = place.indexOf('#');
    switch (end < 0 ? place : place.slice(0, end)) {
      case 'TASK':
        if (after !== undefined) this.#taskChanged(before, after);
        return;
      case 'REPORT':
        if (after !== undefined) this.#reported(after);
        return;
      case 'COMMIT':
        if (after !== undefined) this.#commitRecordChanged(place.slice('COMMIT#'.length), after);
        return;
      case 'LOCK':
        this.#lockChanged(String(pk?.S).slice('VM#'.length), after);
        return;
      case 'RECORD':
        if (after !== undefined && !OUTCOME.every((part) => after[part] === before?.[part])) this.#recordChanged(after);
        return;
    }
    if (pk?.S === 'HOSTS' && after !== undefined) this.#hostChanged(place, before, after);
  }

  #keep(pk: string, sk: string, item: Item | undefined): void {
    const partition = this.#items.get(pk) ?? new Map<string, Item>();
    this.#items.set(pk, partition);
    if (item === undefined) partition.delete(sk);
    else partition.set(sk, item);
  }

  #taskChanged(before: Item | undefined, { sk, task, claimedAt }: Item): void {
    const requestId = String(sk?.S).slice('TASK#'.length);
    if (before === undefined) {
      this.#expiresAt.set(requestId, Date.parse(textIn(task?.M, 'expiresAt') ?? ''));
    }
    if (claimedAt !== undefined && before?.claimedAt === undefined) {
      this.#claimedAt.set(requestId, this.#fleet.clock.now());
    }
  }

  /** The success of a task. */
  #reported({ sk, report }: Item): void {
    const requestId = String(sk?.S).slice('REPORT#'.length);
    const claimedAt = this.#claimedAt.get(requestId);
    if (textIn(report?.M, 'kind') !== 'succeeded' || claimedAt === undefined) return;
    const expiresAt = this.#expiresAt.get(requestId);
    if (/\.inspect\.source\./.test(requestId) && !JSON.stringify(report).includes('"not-asked"'))
      this.#fenced.add(migrationOf(requestId));
    if (expiresAt !== undefined && claimedAt > expiresAt) {
      this.violated('an expired task is not carried out', `${requestId} was begun ${claimedAt - expiresAt} ms late`);
    }
  }

  #commitRecordChanged(migrationId: string, item: Item): void {
    const state = item.state?.S as CommitRecordState | undefined;
    const before = this.commitRecords.get(migrationId);
    if (state === undefined || state === before) return;
    this.#say(`commit record of ${migrationId}: ${state}`);
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
    // A follow-up holds it in the name of its execution.
    if (before !== undefined && this.records.get(before.replace(/\.\d+$/, ''))?.endedAt === undefined) {
      this.violated('a lock stays with its owner', `the lock of ${vm} was taken from ${before} before its end`);
    }
  }

  #hostChanged(hostId: string, before: Item | undefined, after: Item): void {
    for (const slots of SLOTS) {
      if (after[slots] === before?.[slots]) continue;
      const taken = after[slots]?.SS?.length ?? 0;
      const limit = Number(textIn(after.limits?.M, slots));
      if (taken > limit) this.violated('limits are kept', `${taken} of ${limit} ${slots} slots of ${hostId} are taken`);
    }
    if (after.state?.S !== 'IN_MAINTENANCE' || before?.state?.S === 'IN_MAINTENANCE') return;
    this.#say(`${hostId} is in maintenance`);
    for (const [vm, { state }] of this.#fleet.host(hostId).copies) {
      if (state !== 'shutoff') this.violated('a host in maintenance is empty', `${vm} is ${state} on ${hostId}`);
    }
  }

  #recordChanged(item: Item): void {
    const text = (name: string) => item[name]?.S;
    const [runsOn, endedAt] = [text('runsOn'), text('endedAt')];
    const why = textIn(item.failure?.M, 'message');
    const seen: RecordSeen = {
      migrationId: text('migrationId')!,
      vm: text('vm')!,
      source: text('source')!,
      destination: text('destination')!,
      status: text('status')!,
      ...(runsOn !== undefined && { runsOn }),
      ...(endedAt !== undefined && { endedAt }),
      ...(why !== undefined && { why }),
    };
    const before = this.records.get(seen.migrationId);
    this.records.set(seen.migrationId, seen);
    if (seen.status === 'NEEDS_OPERATOR' && before?.status !== 'NEEDS_OPERATOR') this.#mustNeedOperator(seen);
    if (seen.status === 'SUCCEEDED' && this.#halved.has(seen.migrationId)) {
      this.violated('records say where VMs are', `${seen.migrationId} SUCCEEDED, though half of ${seen.vm} was lost`);
    }
    if (endedAt !== undefined && before?.endedAt === undefined) {
      this.#say(`${seen.migrationId} ended ${seen.status}${runsOn === undefined ? '' : `, ${seen.vm} on ${runsOn}`}`);
    }
    if (before?.endedAt !== undefined && JSON.stringify(before) !== JSON.stringify(seen)) {
      const [was, is] = [before, seen].map(({ status, endedAt: at }) => `${status} at ${at}`);
      this.violated('the first outcome stays', `${seen.migrationId} was ${was} and is ${is}`);
    }
  }
}

/** What is looked at of a record: its progress, which changes often, is not. */
const OUTCOME = ['status', 'runsOn', 'endedAt', 'failure'];

const SLOTS = ['outgoing', 'incoming', 'cutovers'] as const;

/** A text, or a number's, in a map of attributes. */
function textIn(map: Item | undefined, name: string): string | undefined {
  const value = map?.[name];
  return value?.S ?? value?.N;
}
