import { setTimeout as sleep } from 'node:timers/promises';
import { getMigration } from '../../cli/follow-migration.ts';
import { FINAL_STATUSES, type MigrationView } from '../../contract/api.ts';
import { request } from '../clients/migrations.ts';
import { guestStatus } from '../guest/guests.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import { until } from '../hosts/until.ts';
import { DomainStateMonitor } from './domain-state-monitor.ts';
import { FAULTS, type FaultContext, type FaultSpec, NothingToInject } from './fault-catalog.ts';
import type { FaultTestbed } from './fault-testbed.ts';
import { judge } from './judgement.ts';
import { leaksOf } from './leaks.ts';
import { arm, type Phase } from './phases.ts';

/** One migration with one fault at one phase, and its result. */
export interface FaultCase {
  fault: string;
  phase: Phase;
  status: MigrationView['status'] | 'UNFINISHED';
  runsOn?: string;
  /** libvirt's state of each host's copy, with its reason, when nothing changes any more. */
  states: { source: string; destination: string };
  /** From the request to the final status. */
  seconds: number;
  doubleRunning: boolean;
  lost: boolean;
  truthful: boolean;
  leaks: string[];
  note: string;
  /** The states of both copies over time. */
  history: DomainStateMonitor['history'];
}

/** A case whose migration has not ended by then is `UNFINISHED`. */
const LIMIT_MS = 240_000;
/** Recovery waits 15 min for evidence. A permanent fault that it waits for is reverted after this time, and the note says so. */
const PATIENCE_MS = 90_000;
/** libvirt's own keepalive gives up a lost connection after 30 s. */
const REST_MS = 60_000;
const MOVER_ENDS_MS = 15_000;
/** The copy is slow enough for a fault in the middle of it, and recovery begins early. */
const POLICY = { heartbeatTimeoutSeconds: 10, bandwidthMiBps: 32, deadlineSeconds: 60 };

/** A guest may converge before it is held: a migration that never reached the phase is repeated, up to this many runs. */
const TRIES = 3;
const NOT_REACHED = 'the phase was not reached';

/** Runs one migration with one fault at one phase until nothing changes any more, and returns what happened to the VM. */
export async function runFaultCase(testbed: FaultTestbed, fault: FaultSpec, phase: Phase): Promise<FaultCase> {
  for (let attempt = 1; ; attempt++) {
    const faultCase = await tryFaultCase(testbed, fault, phase);
    if (attempt === TRIES || !faultCase.note.includes(NOT_REACHED)) return faultCase;
  }
}

async function tryFaultCase(testbed: FaultTestbed, fault: FaultSpec, phase: Phase): Promise<FaultCase> {
  const { managed, lab } = testbed;
  await revertAll(testbed);
  const { name: vm, home: from } = await testbed.readyGuest();
  const to: HostName = from === 'kvm1' ? 'kvm2' : 'kvm1';
  const before = await guestStatus(testbed.guestAddress);
  let migrationId = '';
  const context: FaultContext = { testbed, vm, from, to, migrationId: () => migrationId };
  const notes: string[] = [];
  let injectedAt: number | undefined;
  let reverted = fault.revert === undefined;
  let reverting: Promise<void> = Promise.resolve();
  const revert = () => {
    if (!reverted)
      reverting = fault.revert!(context).catch((error: Error) => void notes.push(`not reverted: ${error.message}`));
    reverted = true;
    return reverting;
  };
  const inject = async () => {
    try {
      await fault.inject(context);
      injectedAt = performance.now();
      if (fault.lastsMs !== undefined) setTimeout(() => void revert(), fault.lastsMs);
    } catch (error) {
      if (!(error instanceof NothingToInject)) throw error;
      notes.push(error.message);
    }
  };
  const onStates = arm(phase, context, { inject, killsTheCaller: fault.name === 'mover' });
  const monitor = new DomainStateMonitor(lab, vm, { from, to }, onStates);
  try {
    const began = performance.now();
    migrationId = await request(managed, { vm, from, to, policy: POLICY });
    let view = await getMigration(managed.api, migrationId);
    while (!FINAL_STATUSES.includes(view.status) && performance.now() - began < LIMIT_MS) {
      await sleep(100);
      view = await getMigration(managed.api, migrationId);
      if (reverted || fault.lastsMs !== undefined || injectedAt === undefined) continue;
      const injectedForMs = performance.now() - injectedAt;
      if (injectedForMs > PATIENCE_MS && waitsForEvidence(view)) {
        notes.push(`reverted after ${Math.round(injectedForMs / 1000)} s, while recovery waited for evidence`);
        await revert();
      }
    }
    const seconds = (performance.now() - began) / 1000;
    const ended = FINAL_STATUSES.includes(view.status) ? view : undefined;
    if (injectedAt === undefined && notes.length === 0) notes.push(NOT_REACHED);
    if (!reverted && injectedAt !== undefined && fault.lastsMs === undefined) notes.push('reverted after the end');
    await revert();
    await untilSettled(testbed, vm);
    const leaks = ended === undefined ? [] : await leaksAfterSettling(testbed, ended);
    const { source, destination } = await monitor.read();
    const states = { source: source.state, destination: destination.state };
    const judgement = judge({ fault: fault.name, phase, injected: injectedAt !== undefined, view: ended, states });
    const errors = await guestErrors(testbed, before.bootId, Object.values(states).includes('running'));
    if (view.failure !== undefined) notes.push(`${view.failure.code}: ${view.failure.message}`);
    if (view.warning !== undefined) notes.push(`warning ${view.warning.code}`);
    return {
      fault: fault.name,
      phase,
      status: ended?.status ?? 'UNFINISHED',
      ...(view.runsOn !== undefined && { runsOn: view.runsOn }),
      states: { source: source.detail, destination: destination.detail },
      seconds: Math.round(seconds * 10) / 10,
      doubleRunning: monitor.doubles > 0 || errors.disk > 0,
      lost: judgement.lost,
      truthful: judgement.truthful,
      leaks,
      note: [...judgement.notes, ...errors.notes, ...notes].join('; '),
      history: monitor.history,
    };
  } finally {
    testbed.observe();
    await revert();
    await monitor.stop();
    await revertAll(testbed);
  }
}

/** Reverts every fault, so that each case begins with two good hosts. */
async function revertAll(testbed: FaultTestbed): Promise<void> {
  for (const [from, to] of [
    ['kvm1', 'kvm2'],
    ['kvm2', 'kvm1'],
  ] as const) {
    for (const fault of FAULTS) await fault.revert?.({ testbed, vm: '', from, to, migrationId: () => '' });
  }
}

/** Recovery has inspected the hosts and decided to wait. */
function waitsForEvidence({ timeline }: MigrationView): boolean {
  return timeline.some(({ event }) => event === 'recovery: wait');
}

/**
 * Waits until both libvirt daemons answer and have no job on the VM, and no mover is left. (A mover whose hold timed out waits for the
 * cutover request for ten minutes more, without a connection; that is longer than this waits.)
 */
async function untilSettled({ lab }: FaultTestbed, vm: string): Promise<void> {
  const settled = async () => {
    for (const host of lab.hosts) {
      const job = await exec(lab, host, ['timeout', '5', 'virsh', 'domjobinfo', vm]);
      const known = job.exitCode === 0 || /failed to get domain|domain is not running/.test(job.stderr);
      if (!known || /Job type:\s+(Unb|B)ounded/.test(job.stdout.toString())) return false;
    }
    return true;
  };
  const moversEnded = async () => {
    for (const host of lab.hosts) {
      const { exitCode } = await exec(lab, host, ['pgrep', '-f', 'handoff-agent.* mover ']);
      if (exitCode === 0) return false;
    }
    return true;
  };
  // What does not settle shows in the states that are read next.
  await until('movers end', moversEnded, { timeoutMs: MOVER_ENDS_MS }).catch(() => {});
  await until('libvirt has no job', settled, { timeoutMs: REST_MS }).catch(() => {});
}

/** The final status is written before slots, memory and the lock are released. */
async function leaksAfterSettling({ managed }: FaultTestbed, view: MigrationView): Promise<string[]> {
  let leaks = await leaksOf(managed, view);
  for (let attempt = 0; leaks.length > 0 && attempt < 20; attempt++) {
    await sleep(250);
    leaks = await leaksOf(managed, view);
  }
  return leaks;
}

async function guestErrors(
  { guestAddress }: FaultTestbed,
  bootId: string,
  runs: boolean,
): Promise<{ disk: number; notes: string[] }> {
  if (!runs) return { disk: 0, notes: [] };
  const status = await until('the guest answers', () => guestStatus(guestAddress).catch(() => undefined)).catch(
    () => undefined,
  );
  if (status === undefined) return { disk: 0, notes: ['the guest does not answer'] };
  const notes = [
    ...(status.bootId === bootId ? [] : ['the guest was rebooted']),
    ...(status.diskErrors === 0 ? [] : [`${status.diskErrors} ticks on the disk were overwritten or failed`]),
    ...(status.patternErrors === 0 ? [] : [`${status.patternErrors} memory pages are damaged`]),
  ];
  return { disk: status.diskErrors, notes };
}
