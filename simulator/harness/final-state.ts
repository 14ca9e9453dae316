import type { JsonObject } from '../../embedded-aws/core/service.ts';
import type { Item } from '../../embedded-aws/dynamodb/values.ts';
import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import { imageOf } from '../hypervisor/copy.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import type { Route } from './fault-injector.ts';
import type { InvariantChecker } from './invariant-checker.ts';

interface End {
  fleet: SimulatedFleet;
  checker: InvariantChecker;
  routes: ReadonlyMap<string, Route>;
  /** Whether AWS does not reach a host. */
  away(hostId: string): boolean;
  /** Whether to check anything, or only to count. */
  check: boolean;
}

/** How executions ended that did not come to a settled end, for whoever looks for the reason. */
export async function tellUnsettled(aws: EmbeddedAws, say: (what: string) => void): Promise<void> {
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
    say(`${executionArn.split(':').at(-1)} is ${status} in "${names.at(-1)}": ${error ?? ''} ${cause ?? ''}`);
  }
}

/** How many migrations ended in which way, and how many of those that went over to post-copy. */
export interface Outcomes {
  outcomes: Record<string, number>;
  postCopies: Record<string, number>;
}

/** When all is quiet: what must hold then. */
export function lookAtEnd({ fleet, checker, routes, away, check }: End): Outcomes {
  const { items } = checker;
  const records = items.filter(({ entity }) => entity?.S === 'MIGRATION');
  const statusOf = new Map(records.map((record) => [text(record, 'migrationId'), text(record, 'status')]));
  const statuses = (of: Iterable<string>) => countEach([...of].map((id) => statusOf.get(id) ?? 'REFUSED'));
  const ended: Outcomes = {
    outcomes: statuses(new Set([...routes.keys(), ...statusOf.keys()])),
    postCopies: statuses(checker.postCopied),
  };
  if (!check) return ended;

  for (const held of [...heldIn(items, statusOf), ...openCommitRecords(items)]) {
    checker.violated('everything is given back', held);
  }
  for (const seen of impossibleIn(items)) checker.violated('recovery sees nothing impossible', seen);
  const waiting = new Set(
    records.filter((record) => text(record, 'status') === 'NEEDS_OPERATOR').map((r) => text(r, 'vm')),
  );
  // Recovery has settled without a host that did not answer, and says so: what is left there is put right when it is back.
  const pendingCleanups = items.filter(({ pk }) => pk?.S === 'CLEANUPS');
  const pendingCleanup = new Set(
    pendingCleanups
      .filter((pendingCleanup) => away(text(pendingCleanup, 'hostId')))
      .map((pendingCleanup) => text(pendingCleanup, 'vm')),
  );
  for (const pendingCleanup of pendingCleanups) {
    const [hostId, vm] = [text(pendingCleanup, 'hostId'), text(pendingCleanup, 'vm')];
    if (away(hostId) || checker.harmed.has(vm) || waiting.has(vm)) continue;
    checker.violated('flagged hosts are followed up', `what is left of ${vm} on ${hostId} was not put right`);
  }
  const vms = new Set(fleet.hosts().flatMap(({ copies }) => [...copies.keys()]));
  for (const vm of vms) {
    const halves = fleet.hosts().filter(({ copies }) => copies.get(vm)?.state.startsWith('postcopy-'));
    if (
      halves.length > 0 &&
      !waiting.has(vm) &&
      !pendingCleanups.some((pendingCleanup) => text(pendingCleanup, 'vm') === vm)
    ) {
      checker.violated('no half of a VM is forgotten', `${vm} is in halves, and nobody is told`);
    }
    if (checker.harmed.has(vm) || waiting.has(vm)) continue;
    const running = fleet.hosts().filter(({ copies }) => copies.get(vm)?.state === 'running');
    const seen = fleet.hosts().flatMap(({ copies, spec }) => {
      const state = copies.get(vm)?.state;
      return state === undefined ? [] : [`${state} on ${spec.hostId}`];
    });
    if (pendingCleanup.has(vm)) continue;
    if (running.length !== 1) checker.violated('every VM runs', `${vm} is ${seen.join(', ')}`);
    else if (seen.length > 1) checker.violated('no copy is left over', `${vm} is ${seen.join(', ')}`);
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

/** A destination that runs although its commit record was revoked: nothing recovery could decide would be right. */
function impossibleIn(items: readonly Item[]): string[] {
  return items.flatMap((item) => {
    const detail = item.detail?.M;
    if (!text(item, 'event').startsWith('recovery: ') || detail?.commitRecord?.S !== 'REVOKED') return [];
    const runs = JSON.stringify(detail.destination).includes('"state":{"S":"running"}');
    return runs ? [`${text(item, 'pk')} was revoked, and its destination runs`] : [];
  });
}

/** A VM's images are where it ran, and nowhere else: what a migration made in vain is gone, and no image bears its mark any more. */
function checkImages(vm: string, { fleet, checker }: Pick<End, 'fleet' | 'checker'>): void {
  for (const { images, spec } of fleet.hosts()) {
    for (const path of images.files.keys()) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const marked = checker.records.get(/^\.handoff-(.*)\.\w+$/.exec(name)?.[1] ?? '')?.vm === vm;
      const inVain = path === imageOf({ name: vm }) && !checker.everRanOn(vm, spec.hostId);
      if (marked || inVain) checker.violated('no image is left over', `${name} of ${vm} is left on ${spec.hostId}`);
    }
  }
}

/** The last migration of each VM that was begun must say where the VM is. */
function checkRecords(records: readonly Item[], { fleet, checker }: Pick<End, 'fleet' | 'checker'>): void {
  const last = new Map<string, Item>();
  for (const record of records) {
    if (record.endedAt === undefined) {
      checker.violated('every migration ends', `${text(record, 'migrationId')} is ${text(record, 'status')} for good`);
      continue;
    }
    const before = last.get(text(record, 'vm'));
    const later = before === undefined || text(record, 'endedAt') > text(before, 'endedAt');
    if (record.runsOn !== undefined && later) last.set(text(record, 'vm'), record);
    const wrong = (text(record, 'status') === 'SUCCEEDED') !== (record.runsOn?.S === record.destination?.S);
    if (wrong)
      checker.violated('records say where VMs are', `${text(record, 'migrationId')} ended ${describe(record)}`);
  }
  for (const [vm, record] of last) {
    if (checker.harmed.has(vm)) continue;
    const home = checker.homeOf(vm);
    const runs = fleet.host(home!).copies.get(vm)?.state === 'running';
    if (runs && home !== record.runsOn?.S) {
      checker.violated(
        'records say where VMs are',
        `${text(record, 'migrationId')} ended ${describe(record)}, but ${vm} runs on ${home}`,
      );
    }
  }
}

const describe = (record: Item): string =>
  `${text(record, 'status')}${record.runsOn === undefined ? '' : ` on ${text(record, 'runsOn')}`}`;

function* heldIn(items: readonly Item[], statusOf: ReadonlyMap<string, string>): Generator<string> {
  for (const item of items) {
    const name = text(item, 'sk');
    if (item.pk?.S === 'HOSTS') {
      for (const slots of ['outgoing', 'incoming', 'cutovers']) {
        for (const id of item[slots]?.SS ?? []) yield `${id} is in the ${slots} slots of ${name}`;
      }
      for (const id of Object.keys(item.queue?.M ?? {})) yield `${id} is in the queue of ${name}`;
      for (const id of Object.keys(item.reservations?.M ?? {})) yield `${id} holds memory of ${name}`;
    }
    if (name === 'LOCK' && statusOf.get(text(item, 'migrationId')) !== 'NEEDS_OPERATOR') {
      yield `${text(item, 'migrationId')} holds the lock of ${text(item, 'pk')}`;
    }
  }
}

function openCommitRecords(items: readonly Item[]): string[] {
  const open = items.filter((item) => text(item, 'sk').startsWith('COMMIT#') && item.state?.S === 'OPEN');
  return open.map((item) => `${text(item, 'sk')} is open`);
}

const text = (item: Item, name: string): string => item[name]?.S ?? '';
