import type { TicketState } from '../../contract/mailbox.ts';
import type { EmbeddedAws } from '../aws.ts';
import type { Json, JsonObject } from '../service.ts';
import type { SimulatedFleet } from '../simulated/fleet.ts';
import type { Boundary } from '../simulated/process.ts';
import type { Call } from './aws-faults.ts';

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

type Attributes = Record<string, Record<string, Json>>;

/**
 * What the tables say, kept beside them from every write that changes a ticket, a lock or an outcome; and what must hold of it
 * and of the hosts at every moment.
 */
export class Ledger {
  readonly violations: Violation[] = [];
  readonly tickets = new Map<string, TicketState>();
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
  /** Migrations whose mover, says the source, is dead. */
  readonly #fenced = new Set<string>();
  readonly #carriedOut = new Set<string>();
  readonly #claimedAt = new Map<string, number>();
  /** By when each order had to be begun. */
  readonly #expiresAt = new Map<string, number>();
  readonly #fleet: SimulatedFleet;
  readonly #say: (what: string) => void;
  #aws!: EmbeddedAws;

  constructor(fleet: SimulatedFleet, say: (what: string) => void) {
    this.#fleet = fleet;
    this.#say = say;
  }

  attach(aws: EmbeddedAws): void {
    this.#aws = aws;
  }

  homeOf(vm: string): string | undefined {
    return this.#homes.get(vm);
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
    // A transient VM that ended there leaves nothing on the destination to tell that it ever ran.
    const untold = this.harmed.has(vm) && !this.#fleet.host(at).copies.get(vm)!.guest.persistent;
    if (home !== undefined && !untold && !this.#mayRunAt(vm, at)) {
      this.violated('runs only after the commit', `${vm} was started on ${at} without a committed ticket`);
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
        record.vm === vm && record.destination === host && this.tickets.get(record.migrationId) === 'COMMITTED',
    );
  }

  /** A VM in the hands of an operator, who is asked only for what nothing else can settle. */
  #mustNeedOperator({ migrationId, vm, why }: RecordSeen): void {
    const mended = this.#fleet.resumes || !this.postCopied.has(migrationId);
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

  /** A claim, and the success that is reported of it. */
  #agentWrote(sk: string, values: Attributes): void {
    const requestId = sk.slice(sk.indexOf('#') + 1);
    if (sk.startsWith('ORDER#')) this.#claimedAt.set(requestId, this.#fleet.clock.now());
    const claimedAt = this.#claimedAt.get(requestId);
    const report = values[':report']?.M as unknown as Attributes | undefined;
    if (!sk.startsWith('REPORT#') || report?.kind?.S !== 'succeeded' || claimedAt === undefined) return;
    const expiresAt = this.#expiresAt.get(requestId);
    if (/\.inspect\.source\./.test(requestId) && !JSON.stringify(report).includes('"not-asked"'))
      this.#fenced.add(migrationOf(requestId));
    if (expiresAt !== undefined && claimedAt > expiresAt) {
      this.violated('an expired order is not carried out', `${requestId} was begun ${claimedAt - expiresAt} ms late`);
    }
  }

  #orderGiven({ Item: item }: JsonObject): void {
    const order = (item as Attributes | undefined)?.order?.M as unknown as Attributes | undefined;
    if (order === undefined) return;
    this.#expiresAt.set(String(order.requestId?.S), Date.parse(String(order.expiresAt?.S)));
  }

  /** Reads again what a call that was made may have changed; undefined when there is nothing to read. */
  observe({ service, operation, input, caller }: Call): Promise<void> | undefined {
    if (service !== 'dynamodb' || !WRITES.includes(operation)) return undefined;
    if (operation === 'PutItem') this.#orderGiven(input);
    if (operation === 'UpdateItem' && caller.userId.includes(':mi-')) {
      this.#agentWrote(String((input.Key as Attributes).sk?.S), input.ExpressionAttributeValues as Attributes);
    }
    if (operation === 'UpdateItem') this.#checkMaintenance(input);
    const changed = writesOf(input).filter((write) => this.#matters(write));
    return changed.length > 0 ? this.#readAgain(changed) : undefined;
  }

  #matters(write: JsonObject): boolean {
    const key = keyOf(write);
    const sk = key.sk?.S;
    if (typeof sk !== 'string' || key.pk === undefined) return false;
    // Progress does not concern the outcome.
    if (sk === 'RECORD') return mayEnd(write) || this.#hasEnded(key);
    if (key.pk.S === 'HOSTS') return takes(write);
    return sk === 'LOCK' || sk.startsWith('TICKET#');
  }

  async #readAgain(writes: readonly JsonObject[]): Promise<void> {
    for (const write of writes) {
      const table = String(write.TableName);
      const { pk, sk } = keyOf(write);
      const key = { pk: pk!, sk: sk! };
      const name = String(key.sk.S);
      if (key.pk.S === 'HOSTS') await this.#readHost(table, key);
      else if (name === 'RECORD') await this.#readRecord(table, key);
      else if (name === 'LOCK') await this.#readLock(table, key);
      else await this.#readTicket(table, key, name.slice('TICKET#'.length));
    }
  }

  #checkMaintenance({ Key, ExpressionAttributeValues: values }: JsonObject): void {
    const { pk, sk } = Key as Attributes;
    if (pk?.S !== 'HOSTS' || (values as Attributes | undefined)?.[':maintenance'] === undefined) return;
    this.#say(`${sk?.S} is in maintenance`);
    for (const [vm, { state }] of this.#fleet.host(String(sk?.S)).copies) {
      if (state !== 'shutoff') this.violated('a host in maintenance is empty', `${vm} is ${state} on ${sk?.S}`);
    }
  }

  async #read(TableName: string, key: Attributes): Promise<Attributes | undefined> {
    const input = { TableName, Key: key as unknown as JsonObject, ConsistentRead: true };
    const { Item } = await this.#aws.callAws('dynamodb', 'GetItem', input, this.#aws.adminCaller);
    return Item as Attributes | undefined;
  }

  async #readTicket(table: string, key: Attributes, migrationId: string): Promise<void> {
    const state = (await this.#read(table, key))?.state?.S as TicketState | undefined;
    if (state === undefined || state === this.tickets.get(migrationId)) return;
    this.#say(`ticket of ${migrationId}: ${state}`);
    const before = this.tickets.get(migrationId);
    if (before !== undefined && before !== 'OPEN') {
      this.violated('a ticket is decided once', `that of ${migrationId} was ${before} and is ${state}`);
    }
    this.tickets.set(migrationId, state);
  }

  async #readLock(table: string, key: Attributes): Promise<void> {
    const vm = String(key.pk?.S).slice('VM#'.length);
    const before = this.#locks.get(vm);
    const now = (await this.#read(table, key))?.migrationId?.S as string | undefined;
    if (now === before) return;
    if (now === undefined) this.#locks.delete(vm);
    else this.#locks.set(vm, now);
    // A follow-up holds it in the name of its execution.
    if (before !== undefined && this.records.get(before.replace(/\.\d+$/, ''))?.endedAt === undefined) {
      this.violated('a lock stays with its owner', `the lock of ${vm} was taken from ${before} before its end`);
    }
  }

  async #readHost(table: string, key: Attributes): Promise<void> {
    const host = await this.#read(table, key);
    const limits = host?.limits?.M as unknown as Attributes | undefined;
    for (const slots of ['outgoing', 'incoming', 'cutovers']) {
      const taken = ((host?.[slots]?.SS ?? []) as string[]).length;
      const limit = Number(limits?.[slots]?.N);
      if (taken > limit)
        this.violated('limits are kept', `${taken} of ${limit} ${slots} slots of ${key.sk?.S} are taken`);
    }
  }

  #hasEnded(key: Attributes): boolean {
    return this.records.get(String(key.pk?.S).slice('MIGRATION#'.length))?.endedAt !== undefined;
  }

  async #readRecord(table: string, key: Attributes): Promise<void> {
    const item = await this.#read(table, key);
    if (item === undefined) return;
    const text = (name: string) => item[name]?.S as string | undefined;
    const [runsOn, endedAt] = [text('runsOn'), text('endedAt')];
    const why = (item.failure?.M as unknown as Attributes | undefined)?.message?.S as string | undefined;
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

const WRITES: readonly string[] = ['PutItem', 'UpdateItem', 'DeleteItem', 'TransactWriteItems'];

function writesOf(input: JsonObject): JsonObject[] {
  const { TransactItems: items } = input as { TransactItems?: Record<string, JsonObject>[] };
  return items === undefined ? [input] : items.flatMap((item) => Object.values(item));
}

const keyOf = (write: JsonObject): Attributes => (write.Key ?? write.Item) as Attributes;

function mayEnd({ Item, ExpressionAttributeNames: names, UpdateExpression: update = '' }: JsonObject): boolean {
  return Item !== undefined || `${Object.values(names ?? {}).join()} ${update}`.includes('endedAt');
}

/** Whether a host's slots are taken. */
const takes = ({ UpdateExpression: update }: JsonObject): boolean => String(update).includes('ADD ');
