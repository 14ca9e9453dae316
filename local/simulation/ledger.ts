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
}

/** What changes something on a host. */
const ACTS: readonly string[] = ['begin', 'prepare', 'perform', 'finish', 'confirm'];

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
      return copy === undefined ? [] : [{ host: host.spec.hostId, state: copy.state }];
    });
    const running = copies.filter(({ state }) => state === 'running').map(({ host }) => host);
    this.#say(`${vm}: ${copies.map(({ host, state }) => `${state} on ${host}`).join(', ') || 'nowhere'}`);
    if (running.length > 1) this.violated('one running copy', `${vm} runs on ${running.join(' and ')}`);
    const alive = copies.some(({ state }) => state === 'running' || state === 'migrating-paused');
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

  #mayRunAt(vm: string, host: string): boolean {
    return [...this.records.values()].some(
      (record) =>
        record.vm === vm && record.destination === host && this.tickets.get(record.migrationId) === 'COMMITTED',
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

  /** Reads again what a call that was made may have changed. */
  async observe({ service, operation, input, caller }: Call): Promise<void> {
    if (service !== 'dynamodb' || !WRITES.includes(operation)) return;
    if (operation === 'PutItem') this.#orderGiven(input);
    if (operation === 'UpdateItem' && caller.userId.includes(':mi-')) {
      this.#agentWrote(String((input.Key as Attributes).sk?.S), input.ExpressionAttributeValues as Attributes);
    }
    if (operation === 'UpdateItem') this.#checkMaintenance(input);
    for (const { table, key, text } of touched(input)) {
      const sk = key.sk?.S;
      if (typeof sk !== 'string') continue;
      if (sk.startsWith('TICKET#')) await this.#readTicket(table, key, sk.slice('TICKET#'.length));
      else if (sk === 'LOCK') await this.#readLock(table, key);
      // Progress does not concern the outcome.
      else if (sk === 'RECORD' && (text.includes('endedAt') || this.#hasEnded(key))) await this.#readRecord(table, key);
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

  #hasEnded(key: Attributes): boolean {
    return this.records.get(String(key.pk?.S).slice('MIGRATION#'.length))?.endedAt !== undefined;
  }

  async #readRecord(table: string, key: Attributes): Promise<void> {
    const item = await this.#read(table, key);
    if (item === undefined) return;
    const text = (name: string) => item[name]?.S as string | undefined;
    const [runsOn, endedAt] = [text('runsOn'), text('endedAt')];
    const seen: RecordSeen = {
      migrationId: text('migrationId')!,
      vm: text('vm')!,
      source: text('source')!,
      destination: text('destination')!,
      status: text('status')!,
      ...(runsOn !== undefined && { runsOn }),
      ...(endedAt !== undefined && { endedAt }),
    };
    const before = this.records.get(seen.migrationId);
    this.records.set(seen.migrationId, seen);
    if (endedAt !== undefined && before?.endedAt === undefined) {
      this.#say(`${seen.migrationId} ended ${seen.status}${runsOn === undefined ? '' : `, ${seen.vm} on ${runsOn}`}`);
    }
    if (before?.endedAt !== undefined && JSON.stringify(before) !== JSON.stringify(seen)) {
      const [was, is] = [before, seen].map(({ status, endedAt: at }) => `${status} at ${at}`);
      this.violated('the first outcome stays', `${seen.migrationId} was ${was} and is ${is}`);
    }
  }
}

interface Touched {
  table: string;
  key: Attributes;
  text: string;
}

const WRITES: readonly string[] = ['PutItem', 'UpdateItem', 'DeleteItem', 'TransactWriteItems'];

function touched({ TransactItems, ...single }: JsonObject): Touched[] {
  const writes = (TransactItems as JsonObject[] | undefined)?.flatMap((item) => Object.values(item)) ?? [single];
  return (writes as JsonObject[]).flatMap((write) => {
    const { pk, sk } = (write.Key ?? write.Item) as Attributes;
    if (pk === undefined || sk === undefined) return [];
    const text = write.Item !== undefined ? 'endedAt' : Object.values(write.ExpressionAttributeNames ?? {}).join();
    return [{ table: String(write.TableName), key: { pk, sk }, text: `${text} ${write.UpdateExpression ?? ''}` }];
  });
}
