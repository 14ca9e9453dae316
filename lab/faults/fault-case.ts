import { setTimeout as sleep } from 'node:timers/promises';
import { getMigration } from '../../cli/follow-migration.ts';
import { FINAL_STATUSES, type MigrationView } from '../../contract/api.ts';
import { request } from '../../test/lab/support/moves.ts';
import { guestStatus } from '../guest/guests.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import { until } from '../hosts/until.ts';
import { DomainStateMonitor } from './domain-state-monitor.ts';
import { FAULTS, type Fault, type Field, NothingToStrike } from './fault-catalog.ts';
import type { FaultTestbed } from './fault-testbed.ts';
import { judge } from './judgement.ts';
import { leaksOf } from './leaks.ts';
import { lay, type Phase } from './phases.ts';

export interface Cell {
  fault: string;
  phase: Phase;
  status: MigrationView['status'] | 'UNFINISHED';
  runsOn?: string;
  /** libvirt's words for each host's copy when all has come to rest. */
  states: { source: string; destination: string };
  /** From the request to the record's end. */
  seconds: number;
  doubleRunning: boolean;
  lost: boolean;
  truthful: boolean;
  leaks: string[];
  note: string;
  /** What both hosts showed over time. */
  history: DomainStateMonitor['history'];
}

/** A cell whose migration has not ended by then is `UNFINISHED`. */
const LIMIT_MS = 240_000;
/** Recovery waits 15 min for evidence; a fault for good that it waits for is mended after this long, and the cell says so. */
const PATIENCE_MS = 90_000;
/** libvirt's own keepalive gives up a lost connection after 30 s. */
const REST_MS = 60_000;
const MOVER_ENDS_MS = 15_000;
/** The copy is slow enough to be struck in its midst, and recovery begins soon. */
const POLICY = { heartbeatTimeoutSeconds: 10, bandwidthMiBps: 32, deadlineSeconds: 60 };

/** How often a migration that never came to the phase is tried anew: a guest may converge before it is held. */
const TRIES = 3;
const NOT_REACHED = 'the phase was not reached';

/** Runs one migration with one fault at one phase, to its end and to rest, and says what became of the VM. */
export async function runCell(stand: FaultTestbed, fault: Fault, phase: Phase): Promise<Cell> {
  for (let attempt = 1; ; attempt++) {
    const cell = await tryCell(stand, fault, phase);
    if (attempt === TRIES || !cell.note.includes(NOT_REACHED)) return cell;
  }
}

async function tryCell(stand: FaultTestbed, fault: Fault, phase: Phase): Promise<Cell> {
  const { managed, lab } = stand;
  await putRight(stand);
  const { name: vm, home: from } = await stand.readyGuest();
  const to: HostName = from === 'kvm1' ? 'kvm2' : 'kvm1';
  const before = await guestStatus(stand.guestAddress);
  let migrationId = '';
  const field: Field = { stand, vm, from, to, migrationId: () => migrationId };
  const notes: string[] = [];
  let struckAt: number | undefined;
  let mended = fault.mend === undefined;
  let mending: Promise<void> = Promise.resolve();
  const mend = () => {
    if (!mended) mending = fault.mend!(field).catch((error: Error) => void notes.push(`not mended: ${error.message}`));
    mended = true;
    return mending;
  };
  const strike = async () => {
    try {
      await fault.strike(field);
      struckAt = performance.now();
      if (fault.lastsMs !== undefined) setTimeout(() => void mend(), fault.lastsMs);
    } catch (error) {
      if (!(error instanceof NothingToStrike)) throw error;
      notes.push(error.message);
    }
  };
  const trap = { strike, killsTheCaller: fault.name === 'mover' };
  const seen = lay(phase, field, trap);
  const witness = new DomainStateMonitor(lab, vm, { from, to }, seen);
  try {
    const began = performance.now();
    migrationId = await request(managed, { vm, from, to, policy: POLICY });
    let view = await getMigration(managed.api, migrationId);
    while (!FINAL_STATUSES.includes(view.status) && performance.now() - began < LIMIT_MS) {
      await sleep(100);
      view = await getMigration(managed.api, migrationId);
      if (mended || fault.lastsMs !== undefined || struckAt === undefined) continue;
      const struckFor = performance.now() - struckAt;
      if (struckFor > PATIENCE_MS && waitsForEvidence(view)) {
        notes.push(`mended after ${Math.round(struckFor / 1000)} s, while recovery waited for evidence`);
        await mend();
      }
    }
    const seconds = (performance.now() - began) / 1000;
    const ended = FINAL_STATUSES.includes(view.status) ? view : undefined;
    if (struckAt === undefined && notes.length === 0) notes.push(NOT_REACHED);
    if (!mended && struckAt !== undefined && fault.lastsMs === undefined) notes.push('mended after the end');
    await mend();
    await atRest(stand, vm);
    const leaks = ended === undefined ? [] : await leaksAtRest(stand, ended);
    const { source, destination } = await witness.look();
    const states = { source: source.state, destination: destination.state };
    const judgement = judge({ fault: fault.name, phase, struck: struckAt !== undefined, view: ended, states });
    const errors = await guestErrors(stand, before.bootId, Object.values(states).includes('running'));
    if (view.failure !== undefined) notes.push(`${view.failure.code}: ${view.failure.message}`);
    if (view.warning !== undefined) notes.push(`warning ${view.warning.code}`);
    return {
      fault: fault.name,
      phase,
      status: ended?.status ?? 'UNFINISHED',
      ...(view.runsOn !== undefined && { runsOn: view.runsOn }),
      states: { source: source.detail, destination: destination.detail },
      seconds: Math.round(seconds * 10) / 10,
      doubleRunning: witness.doubles > 0 || errors.disk > 0,
      lost: judgement.lost,
      truthful: judgement.truthful,
      leaks,
      note: [...judgement.notes, ...errors.notes, ...notes].join('; '),
      history: witness.history,
    };
  } finally {
    stand.watch();
    await mend();
    await witness.stop();
    await putRight(stand);
  }
}

/** Mends whatever an earlier cell broke, so that each begins with two good hosts. */
async function putRight(stand: FaultTestbed): Promise<void> {
  for (const [from, to] of [
    ['kvm1', 'kvm2'],
    ['kvm2', 'kvm1'],
  ] as const) {
    for (const fault of FAULTS) await fault.mend?.({ stand, vm: '', from, to, migrationId: () => '' });
  }
}

/** Recovery has looked, and said that it can only wait. */
function waitsForEvidence({ timeline }: MigrationView): boolean {
  return timeline.some(({ event }) => event === 'recovery: wait');
}

/**
 * Both libvirts answer and have no job on the VM any more, and no mover is left. (One whose hold ended by itself lingers for the
 * cutover order, for ten minutes and without a connection; it is not waited for.)
 */
async function atRest({ lab }: FaultTestbed, vm: string): Promise<void> {
  const settled = async () => {
    for (const host of lab.hosts) {
      const job = await exec(lab, host, ['timeout', '5', 'virsh', 'domjobinfo', vm]);
      const known = job.exitCode === 0 || /failed to get domain|domain is not running/.test(job.stderr);
      if (!known || /Job type:\s+(Unb|B)ounded/.test(job.stdout.toString())) return false;
    }
    return true;
  };
  const left = async () => {
    for (const host of lab.hosts) {
      const { exitCode } = await exec(lab, host, ['pgrep', '-f', 'handoff-agent.* mover ']);
      if (exitCode === 0) return false;
    }
    return true;
  };
  // What does not come to rest is seen in the states that are looked at next.
  await until('movers end', left, { timeoutMs: MOVER_ENDS_MS }).catch(() => {});
  await until('libvirt has no job', settled, { timeoutMs: REST_MS }).catch(() => {});
}

/** The outcome is written before what others wait for is given back. */
async function leaksAtRest({ managed }: FaultTestbed, view: MigrationView): Promise<string[]> {
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
    ...(status.bootId === bootId ? [] : ['the guest was booted anew']),
    ...(status.diskErrors === 0 ? [] : [`${status.diskErrors} ticks on the disk were overwritten or failed`]),
    ...(status.patternErrors === 0 ? [] : [`${status.patternErrors} memory pages are damaged`]),
  ];
  return { disk: status.diskErrors, notes };
}
