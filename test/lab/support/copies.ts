import type { Domain, HypervisorConnection, JobStats } from '../../../agent/hypervisor.ts';
import { connectLibvirt } from '../../../agent/libvirt/connect.ts';
import { Copy } from '../../../agent/mover/copy.ts';
import type { Hold } from '../../../agent/mover/copy-context.ts';
import { Handover } from '../../../agent/mover/handover.ts';
import { systemClock } from '../../../common/clock.ts';
import type { Plan } from '../../../contract/forecast.ts';
import type { Policy } from '../../../contract/policy.ts';
import type { Lab } from '../../../lab/hosts/lab.ts';
import { addressOf, type HostName, libvirtUriOf } from '../../../lab/hosts/plan.ts';

export interface CopyParams {
  vm: string;
  from: HostName;
  to: HostName;
  plan: Plan;
  policy: Policy;
  /** From the hold to the release: what the control plane takes, or longer. */
  holdMs?: number;
  /** Called once the copy is released. */
  onReleased?: () => unknown;
}

export interface CopyOutcome {
  end: 'switched' | 'failed';
  why?: string;
  hold?: Hold;
  activeMs: number;
  /** QEMU's own figure. */
  downtimeMs?: number;
  bytes?: number;
  /** Every look that was taken at the job, in order; `releasedAt` is how many of them were before the release. */
  looks: JobStats[];
  releasedAt: number;
  decisions: { event: string; detail: Record<string, unknown> }[];
}

/**
 * One real migration as the mover drives it, with nothing of the control plane: the commit record is always open, every commit is made.
 * For what depends on libvirt and QEMU alone, and for recording what they say on the way.
 */
export async function copyAlone(lab: Lab, wish: CopyParams): Promise<CopyOutcome> {
  const { vm, from, to, plan, policy, holdMs = 1_000, onReleased } = wish;
  const clock = systemClock;
  const source = await connectLibvirt(libvirtUriOf(lab, from));
  const target = await connectLibvirt(libvirtUriOf(lab, to));
  const outcome: CopyOutcome = { end: 'failed', activeMs: 0, looks: [], releasedAt: 0, decisions: [] };
  try {
    const domain = recorded((await source.find(vm))!, outcome.looks);
    const reconnect = (): Promise<HypervisorConnection> => connectLibvirt(libvirtUriOf(lab, to));
    const handover = await Handover.prepare({
      source: domain,
      destination: target,
      address: addressOf(lab, to),
      clock,
      reconnect,
      reconnectSource: () => connectLibvirt(libvirtUriOf(lab, from)),
      plan,
      bandwidthMiBps: policy.bandwidthMiBps,
      resumeAlways: true,
      commit: async () => 'committed',
      onDecision: (event, detail) => outcome.decisions.push({ event, detail }),
    });
    const performing = handover.perform();
    const copy = new Copy({
      source: domain,
      clock,
      policy,
      plan,
      readCommitRecord: async () => 'OPEN',
      onProgress: (phase) => {
        if (phase !== 'switching' || outcome.releasedAt > 0) return;
        outcome.releasedAt = outcome.looks.length;
        onReleased?.();
      },
      announceMs: 0,
      onApproaching: () => {},
      onHeld: (hold) => {
        outcome.hold = hold;
        void clock.sleep(holdMs).then(() => copy.release());
      },
      onDecision: (event, detail) => outcome.decisions.push({ event, detail }),
      startPostCopy: () => handover.startPostCopy(),
    });
    void copy.drive();
    try {
      await performing;
    } catch (error) {
      copy.stop();
      outcome.activeMs = copy.activeMs;
      outcome.why = (copy.abortReason ?? (error as Error)).message;
      await handover.discardDestinationCopy();
      return outcome;
    }
    copy.stop();
    const end = await handover.decide();
    outcome.activeMs = copy.activeMs;
    if (end.kind !== 'switched') return { ...outcome, why: end.kind };
    const job = await (await target.find(vm))?.lastJob();
    await handover.confirm();
    return {
      ...outcome,
      end: 'switched',
      ...(job?.downtimeMs !== undefined && { downtimeMs: job.downtimeMs }),
      ...(job !== undefined && { bytes: job.bytesProcessed }),
    };
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

/** The domain, with every answer to `job` kept. */
function recorded(domain: Domain, looks: JobStats[]): Domain {
  return new Proxy(domain, {
    get(of, name) {
      if (name === 'job') {
        return async () => {
          const job = await of.job();
          if (job !== undefined) looks.push(job);
          return job;
        };
      }
      const value = Reflect.get(of, name, of);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}
