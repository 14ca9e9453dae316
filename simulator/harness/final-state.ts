import { parseMailboxItem } from '../../contract/mailbox.ts';
import type { JsonObject } from '../../embedded-aws/core/service.ts';
import type { Item } from '../../embedded-aws/dynamodb/values.ts';
import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import type { HostItem } from '../../lambdas/platform/control-table.ts';
import { imageOf } from '../hypervisor/copy.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import type { RequestedMigration } from './fault-injector.ts';
import type { InvariantChecker } from './invariant-checker.ts';

interface FinalState {
  fleet: SimulatedFleet;
  checker: InvariantChecker;
  requested: ReadonlyMap<string, RequestedMigration>;
  /** Whether AWS does not reach a host. */
  isOffline(hostId: string): boolean;
  /** Whether to check the invariants, or only to count the outcomes. */
  check: boolean;
}

/** Logs how each execution ended that did not settle its migration. */
export async function logUnsettled(aws: EmbeddedAws, log: (message: string) => void): Promise<void> {
  const stateMachineArn = String(aws.outputs.MigrateMachine);
  const { executions } = await aws.callAws('states', 'ListExecutions', { stateMachineArn }, aws.adminCaller);
  for (const { executionArn } of executions as { executionArn: string }[]) {
    const call = (operation: string, more: JsonObject = {}) =>
      aws.callAws('states', operation, { executionArn, ...more }, aws.adminCaller);
    const { status, error, cause } = await call('DescribeExecution');
    const { events } = await call('GetExecutionHistory', { maxResults: 1_000 });
    const names = (events as JsonObject[]).flatMap(
      (event) => (event.stateEnteredEventDetails as JsonObject)?.name ?? [],
    );
    if (names.includes('Route outcome')) continue;
    log(`${executionArn.split(':').at(-1)} is ${status} in "${names.at(-1)}": ${error ?? ''} ${cause ?? ''}`);
  }
}

/** The number of migrations by their final status: of all, and of those that used post-copy. */
export interface Outcomes {
  outcomes: Record<string, number>;
  postCopies: Record<string, number>;
}

/** Checks what must hold when a world has come to rest, and counts the outcomes of its migrations. */
export function checkFinalState({ fleet, checker, requested, isOffline, check }: FinalState): Outcomes {
  const { items } = checker;
  const records = items.filter(({ entity }) => entity?.S === 'MIGRATION');
  const statusOf = new Map(records.map((record) => [text(record, 'migrationId'), text(record, 'status')]));
  const statuses = (of: Iterable<string>) => countEach([...of].map((id) => statusOf.get(id) ?? 'REFUSED'));
  const ended: Outcomes = {
    outcomes: statuses(new Set([...requested.keys(), ...statusOf.keys()])),
    postCopies: statuses(checker.vms.postCopied),
  };
  if (!check) return ended;

  for (const held of [...heldIn(items, statusOf), ...openCommitRecords(items)]) {
    checker.violated('an ended migration holds nothing', held);
  }
  for (const seen of impossibleIn(items)) checker.violated('recovery never sees impossible evidence', seen);
  const waiting = new Set(
    records.filter((record) => text(record, 'status') === 'NEEDS_OPERATOR').map((r) => text(r, 'vm')),
  );
  // Recovery settled these without a host that did not answer. They are carried out when that host is back.
  const cleanups = items.filter(({ pk }) => pk?.S === 'CLEANUPS');
  const blocked = new Set(
    cleanups.filter((cleanup) => isOffline(text(cleanup, 'hostId'))).map((cleanup) => text(cleanup, 'vm')),
  );
  for (const cleanup of cleanups) {
    const [hostId, vm] = [text(cleanup, 'hostId'), text(cleanup, 'vm')];
    if (isOffline(hostId) || checker.harmed.has(vm) || waiting.has(vm)) continue;
    checker.violated('every pending cleanup is carried out', `the cleanup of ${vm} on ${hostId} was not`);
  }
  const vms = new Set(fleet.hosts().flatMap(({ copies }) => [...copies.keys()]));
  for (const vm of vms) {
    const halves = fleet.hosts().filter(({ copies }) => copies.get(vm)?.state.startsWith('postcopy-'));
    if (halves.length > 0 && !waiting.has(vm) && !cleanups.some((cleanup) => text(cleanup, 'vm') === vm)) {
      checker.violated('an operator learns of every VM in halves', `${vm} is in halves, and nothing says so`);
    }
    if (checker.harmed.has(vm) || waiting.has(vm)) continue;
    const running = fleet.hosts().filter(({ copies }) => copies.get(vm)?.state === 'running');
    const seen = fleet.hosts().flatMap(({ copies, spec }) => {
      const state = copies.get(vm)?.state;
      return state === undefined ? [] : [`${state} on ${spec.hostId}`];
    });
    if (blocked.has(vm)) continue;
    if (running.length !== 1) checker.violated('every VM runs', `${vm} is ${seen.join(', ')}`);
    else if (seen.length > 1) checker.violated('no copy of a VM is left over', `${vm} is ${seen.join(', ')}`);
    checkImages(vm, { fleet, checker });
  }
  checkRecords(
    records.filter((record) => !waiting.has(text(record, 'vm'))),
    { fleet, checker },
  );
  return ended;
}

function countEach(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

/** A destination that runs although its commit record was revoked: no decision of recovery could be right. */
function impossibleIn(items: readonly Item[]): string[] {
  return items.flatMap((item) => {
    const detail = item.detail?.M;
    if (!text(item, 'event').startsWith('recovery: ') || detail?.commitRecord?.S !== 'REVOKED') return [];
    const runs = JSON.stringify(detail.destination).includes('"state":{"S":"running"}');
    return runs ? [`${text(item, 'pk')} was revoked, and its destination runs`] : [];
  });
}

/** Images of a VM exist only on hosts where it ran, and no image is marked as a migration's any more. */
function checkImages(vm: string, { fleet, checker }: Pick<FinalState, 'fleet' | 'checker'>): void {
  for (const { images, spec } of fleet.hosts()) {
    for (const path of images.files.keys()) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const marked = checker.records.get(/^\.handoff-(.*)\.\w+$/.exec(name)?.[1] ?? '')?.vm === vm;
      const neverUsed = path === imageOf({ name: vm }) && !checker.vms.everRanOn(vm, spec.hostId);
      if (marked || neverUsed) checker.violated('no image is left over', `${name} of ${vm} is left on ${spec.hostId}`);
    }
  }
}

/** The record of each VM's last migration names the host that runs the VM. */
function checkRecords(records: readonly Item[], { fleet, checker }: Pick<FinalState, 'fleet' | 'checker'>): void {
  const last = new Map<string, Item>();
  for (const record of records) {
    if (record.endedAt === undefined) {
      checker.violated('every migration ends', `${text(record, 'migrationId')} stays ${text(record, 'status')}`);
      continue;
    }
    const before = last.get(text(record, 'vm'));
    const later = before === undefined || text(record, 'endedAt') > text(before, 'endedAt');
    if (record.runsOn !== undefined && later) last.set(text(record, 'vm'), record);
    const wrong = (text(record, 'status') === 'SUCCEEDED') !== (record.runsOn?.S === record.destination?.S);
    if (wrong)
      checker.violated(
        'the record names the host that runs the VM',
        `${text(record, 'migrationId')} ended ${describe(record)}`,
      );
  }
  for (const [vm, record] of last) {
    if (checker.harmed.has(vm)) continue;
    const home = checker.vms.homeOf(vm);
    const runs = fleet.host(home!).copies.get(vm)?.state === 'running';
    if (runs && home !== record.runsOn?.S) {
      checker.violated(
        'the record names the host that runs the VM',
        `${text(record, 'migrationId')} ended ${describe(record)}, but ${vm} runs on ${home}`,
      );
    }
  }
}

const describe = (record: Item): string =>
  `${text(record, 'status')}${record.runsOn === undefined ? '' : ` on ${text(record, 'runsOn')}`}`;

/** Attributes of a host's record in which migrations hold something. */
const SLOTS = ['outgoing', 'incoming', 'cutovers'] as const satisfies (keyof HostItem)[];
const QUEUE = 'queue' satisfies keyof HostItem;
const RESERVATIONS = 'reservations' satisfies keyof HostItem;

function* heldIn(items: readonly Item[], statusOf: ReadonlyMap<string, string>): Generator<string> {
  for (const item of items) {
    const name = text(item, 'sk');
    if (item.pk?.S === 'HOSTS') {
      for (const slots of SLOTS) {
        for (const id of item[slots]?.SS ?? []) yield `${id} is in the ${slots} slots of ${name}`;
      }
      for (const id of Object.keys(item[QUEUE]?.M ?? {})) yield `${id} is in the queue of ${name}`;
      for (const id of Object.keys(item[RESERVATIONS]?.M ?? {})) yield `${id} holds memory of ${name}`;
    }
    if (name === 'LOCK' && statusOf.get(text(item, 'migrationId')) !== 'NEEDS_OPERATOR') {
      yield `${text(item, 'migrationId')} holds the lock of ${text(item, 'pk')}`;
    }
  }
}

function openCommitRecords(items: readonly Item[]): string[] {
  const open = items.filter(
    (item) => parseMailboxItem(text(item, 'sk'))?.kind === 'commit' && item.state?.S === 'OPEN',
  );
  return open.map((item) => `${text(item, 'sk')} is open`);
}

const text = (item: Item, name: string): string => item[name]?.S ?? '';
