import type { Clock } from '../../common/clock.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { Domain, HypervisorConnection, JobStats } from '../hypervisor.ts';

/** How exactly a post-copy's blackout is known. */
const RUNNING_LOOK_MS = 20;
/** Once the guest runs: how often the rest of its memory is reported. */
const REST_LOOK_MS = 1_000;

export interface PostCopyMonitorContext {
  source: Domain;
  destination: HypervisorConnection;
  vm: string;
  clock: Clock;
  /** Once, when the guest is first seen to run on the destination. */
  onRunning(): void;
  /** Then every second, with the newest statistics of the rest of the memory. */
  onRest(rest: JobStats | undefined): void;
}

export interface PostCopyObservation {
  /** False for a copy that converged in the very moment post-copy was started: nothing was left to be fetched. */
  postCopy: boolean;
  /** When the guest was first seen to run on the destination, or the monitor ended, in ms of the clock. */
  ranAt: number;
  rest?: JobStats | undefined;
}

/**
 * Follows a post-copy beside its Finish, which answers only when all memory has come; the guest runs long before. Returns after
 * `done`. Nothing here is in the way of the handover: it never rejects, and what cannot be seen is not reported.
 */
export async function monitorPostCopy(
  { source, destination, vm, clock, onRunning, onRest }: PostCopyMonitorContext,
  done: AbortSignal,
): Promise<PostCopyObservation> {
  const postCopy = (await stateOf(async () => source)) !== 'migrating-paused';
  let ranAt: number | undefined;
  let rest: JobStats | undefined;
  while (!done.aborted) {
    if (ranAt === undefined) {
      const state = await stateOf(() => destination.find(vm));
      if (state === 'postcopy-running' || state === 'running') {
        ranAt = clock.now();
        onRunning();
      }
    } else {
      rest = (await source.job().catch(() => undefined)) ?? rest;
      onRest(rest);
    }
    await clock.sleep(ranAt === undefined ? RUNNING_LOOK_MS : REST_LOOK_MS, done);
  }
  return { postCopy, ranAt: ranAt ?? clock.now(), rest };
}

async function stateOf(find: () => Promise<Domain | undefined>): Promise<CopyState | undefined> {
  try {
    return (await (await find())?.state())?.state;
  } catch {
    return undefined;
  }
}
