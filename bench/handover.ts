import { followMigration } from '../cli/follow-migration.ts';
import { duration } from '../cli/text.ts';
import { table } from '../common/text-table.ts';
import type { MigrationView } from '../contract/api.ts';
import { startPing } from '../lab/clients/ping-probe.ts';
import { guestStatus, plainVirsh, startGuest } from '../lab/guest/guests.ts';
import { downLab, type Lab, upLab } from '../lab/hosts/lab.ts';
import type { HostName } from '../lab/hosts/plan.ts';
import { type ManagedLab, startManagedLab } from '../lab/managed-lab.ts';
import { type Summary, summarize } from './statistics.ts';

const GUEST = 'bench';

interface Run {
  /** The longest time without an answer to pings sent every 10 ms. */
  blackoutMs: number;
  /** From the request (or the command's start) to the verified result (or the command's end). */
  totalMs: number;
  /** The part that is neither copy nor switch: the control plane's. Handoff only. */
  controlPlaneMs?: number;
}

export interface HandoverBench {
  bench: 'handover';
  virsh: { blackoutMs: Summary; totalMs: Summary };
  handoff: { blackoutMs: Summary; totalMs: Summary; controlPlaneMs: Summary };
  /** Handoff's median divided by virsh's. */
  blackoutRatio: number;
  totalOverheadMs: number;
  targets: { blackoutRatioAtMost0_8: boolean };
}

/**
 * Handoff against `virsh migrate --live --p2p`, on one guest, in turn and in both directions, so that other load of the
 * machine affects both alike. The guest checks its own memory all the time; damage ends the bench.
 */
export async function handoverBench(runs: number, say: (line: string) => void): Promise<HandoverBench> {
  const lab = await upLab();
  try {
    const world = await startManagedLab(lab);
    try {
      const address = `${lab.subnet}.101`;
      await startGuest(lab, 'kvm1', { name: GUEST, address });
      // The first move of each kind meets cold caches.
      await handoff(world, 'kvm1', 'kvm2', address);
      await virsh(lab, 'kvm2', 'kvm1', address);
      const virshRuns: Run[] = [];
      const handoffRuns: Run[] = [];
      for (let pair = 1; virshRuns.length < runs; pair++) {
        // Two of one, then two of the other; each pair begins with the other one.
        for (const mover of pair % 2 === 1 ? (['virsh', 'handoff'] as const) : (['handoff', 'virsh'] as const)) {
          for (const [from, to] of [
            ['kvm1', 'kvm2'],
            ['kvm2', 'kvm1'],
          ] as const) {
            const run =
              mover === 'virsh' ? await virsh(lab, from, to, address) : await handoff(world, from, to, address);
            (mover === 'virsh' ? virshRuns : handoffRuns).push(run);
            say(
              `${mover.padEnd(8)} ${from} -> ${to}: blackout ${duration(run.blackoutMs)}, total ${duration(run.totalMs)}`,
            );
          }
        }
        const { patternErrors, diskErrors } = await guestStatus(address);
        if (patternErrors + diskErrors > 0)
          throw new Error(`the guest is damaged: ${patternErrors} pages, ${diskErrors} ticks`);
      }
      return compare(virshRuns, handoffRuns);
    } finally {
      await world.stop();
    }
  } finally {
    await downLab(lab.name);
  }
}

async function virsh(lab: Lab, from: HostName, to: HostName, address: string): Promise<Run> {
  return observed(lab, address, async () => {
    await plainVirsh(lab, { from, to, guest: GUEST });
    return {};
  });
}

async function handoff({ lab, api }: ManagedLab, from: HostName, to: HostName, address: string): Promise<Run> {
  return observed(lab, address, async () => {
    const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', {
      body: { vm: GUEST, source: from, destination: to, reason: 'bench' },
    });
    const view = await followMigration(api, migrationId, () => {}, 50);
    if (view.status !== 'SUCCEEDED')
      throw new Error(`${migrationId} ended ${view.status}: ${JSON.stringify(view.failure)}`);
    return { agentMs: agentTime(view) };
  });
}

async function observed(lab: Lab, address: string, move: () => Promise<{ agentMs?: number }>): Promise<Run> {
  const ping = await startPing(lab, address);
  const began = performance.now();
  const { agentMs } = await move();
  const totalMs = performance.now() - began;
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { longestGapMs } = await ping.stop();
  return { blackoutMs: longestGapMs, totalMs, ...(agentMs !== undefined && { controlPlaneMs: totalMs - agentMs }) };
}

/** The time the mover itself reports: the copy up to the hold, and the switch. */
function agentTime(view: MigrationView): number {
  const results = view.timeline.map(
    (event) => event.detail?.result as { copyMs?: number; switchMs?: number } | undefined,
  );
  return results.reduce((sum, result) => sum + (result?.copyMs ?? 0) + (result?.switchMs ?? 0), 0);
}

function compare(virshRuns: readonly Run[], handoffRuns: readonly Run[]): HandoverBench {
  const of = (runs: readonly Run[], pick: (run: Run) => number) => summarize(runs.map(pick));
  const plain = { blackoutMs: of(virshRuns, (run) => run.blackoutMs), totalMs: of(virshRuns, (run) => run.totalMs) };
  const ours = {
    blackoutMs: of(handoffRuns, (run) => run.blackoutMs),
    totalMs: of(handoffRuns, (run) => run.totalMs),
    controlPlaneMs: of(handoffRuns, (run) => run.controlPlaneMs ?? Number.NaN),
  };
  const blackoutRatio = ours.blackoutMs.median / plain.blackoutMs.median;
  return {
    bench: 'handover',
    virsh: plain,
    handoff: ours,
    blackoutRatio,
    totalOverheadMs: ours.totalMs.median - plain.totalMs.median,
    targets: { blackoutRatioAtMost0_8: blackoutRatio <= 0.8 },
  };
}

export function handoverTable({ virsh: plain, handoff: ours, blackoutRatio, totalOverheadMs }: HandoverBench): string {
  const row = (name: string, of: Summary) => [
    name,
    duration(of.median),
    `${duration(of.p25)} to ${duration(of.p75)}`,
    `${duration(of.min)} to ${duration(of.max)}`,
    String(of.runs),
  ];
  return [
    table([
      ['', 'MEDIAN', 'MIDDLE HALF', 'ALL', 'RUNS'],
      row('blackout, virsh --p2p', plain.blackoutMs),
      row('blackout, Handoff', ours.blackoutMs),
      row('total, virsh --p2p', plain.totalMs),
      row('total, Handoff', ours.totalMs),
      row('  of which control plane', ours.controlPlaneMs),
    ]),
    `blackout: ${blackoutRatio.toFixed(2)} times that of virsh; total: ${duration(Math.abs(totalOverheadMs))} ${totalOverheadMs < 0 ? 'less' : 'more'}`,
  ].join('\n');
}
