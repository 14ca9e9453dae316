import { type Clock, within } from '../../common/clock.ts';
import type { Domain, HypervisorConnection, JobStats } from '../hypervisor.ts';
import type { BlackoutMeasurement } from './blackout-measurement.ts';
import type { Copy } from './copy.ts';
import { failureOfHandover } from './failures.ts';
import type { Handover } from './handover.ts';
import { monitorPostCopy } from './post-copy-monitor.ts';
import type { Switched } from './reports.ts';

/** The destination's own figures are worth a short wait, not a stuck Confirm. */
const FIGURES_PATIENCE_MS = 1_000;

export interface SwitchoverContext {
  source: Domain;
  destination: HypervisorConnection;
  vm: string;
  clock: Clock;
  handover: Handover;
  copy: Copy;
  blackout: BlackoutMeasurement;
  /** The copy was to be ended, and no commit was tried: the handover is called off. */
  cancelled: boolean;
  /** In a post-copy: once, when the guest is first seen to run on the destination. */
  onRunning(): void;
  /** In a post-copy: the newest statistics of the rest of the memory. */
  onRest(rest: JobStats | undefined): void;
}

/**
 * After Perform: commits and finishes, or takes everything back, and measures what that cost. Throws the failure to report when the VM
 * was not switched.
 *
 * The guest stands still from before the first line to Finish's answer, or, in a post-copy, until Finish has reached the
 * destination: nothing may be added in between.
 */
export async function switchOver(context: SwitchoverContext): Promise<Omit<Switched, 'commitMs'>> {
  const { destination, vm, clock, handover, copy, blackout, cancelled } = context;
  const { postCopySince } = handover;
  const pausedAt = postCopySince ?? clock.now();
  const done = new AbortController();
  const ending = cancelled ? handover.cancel('asked') : handover.decide();
  const monitoring = postCopySince === undefined ? undefined : monitorPostCopy(context, done.signal);
  const end = await ending;
  const finishedAt = clock.now();
  const { activeMs } = copy;
  done.abort();
  if (end.kind !== 'switched') throw failureOfHandover(end, copy.abortReason);

  const { postCopy, ranAt, rest } = (await monitoring) ?? { postCopy: false, ranAt: finishedAt };
  const figures = await within(clock, FIGURES_PATIENCE_MS, jobFigures(destination, vm), () => undefined);
  return {
    downtimeMs: figures?.downtimeMs ?? ranAt - pausedAt,
    bytesTransferred: (figures ?? rest ?? copy.job)?.bytesProcessed ?? 0,
    pausedAt,
    finishedAt,
    activeMs,
    postCopy,
    blackout: await blackout.result({ from: pausedAt, to: ranAt }),
  };
}

/** The destination keeps the job's own figures; the guest runs by now, so asking costs it nothing. */
async function jobFigures(destination: HypervisorConnection, vm: string): Promise<JobStats | undefined> {
  try {
    return await (await destination.find(vm))?.lastJob();
  } catch {
    return undefined;
  }
}
