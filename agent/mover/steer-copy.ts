import { HandoffError } from '../../contract/errors.ts';
import { copyEventsOf } from '../convergence/copy-events.ts';
import { withLook } from '../convergence/iterations.ts';
import { steer } from '../convergence/steer.ts';
import type { JobStats } from '../hypervisor.ts';
import type { CopyContext } from './copy-context.ts';
import type { CopyJobStateOf } from './copy-job-state.ts';

type Converging = CopyJobStateOf<'converging'>;

export const POST_COPY: CopyJobStateOf<'post-copy'> = { name: 'post-copy' };

/**
 * One look at a released copy: reports what the guest and QEMU did in the last pass, and what is decided from that. Raises the
 * downtime limit itself; returns the state that follows, or why the copy is to be given up.
 */
export async function steerCopy(
  { source, plan, policy, onDecision }: Pick<CopyContext, 'source' | 'plan' | 'policy' | 'onDecision'>,
  { limitMs, ...before }: Converging,
  job: JobStats,
  activeMs: number,
): Promise<Converging | typeof POST_COPY | HandoffError> {
  const iterations = withLook(before.iterations, job);
  const newIteration = iterations !== before.iterations;
  if (newIteration) for (const { event, detail } of copyEventsOf(iterations)) onDecision(event, detail);
  const move = steer({ iterations, job, newIteration, limitMs, activeMs, plan, policy });
  switch (move.kind) {
    case 'wait':
      return { name: 'converging', limitMs, iterations };
    case 'raise-limit':
      try {
        await source.setMaxDowntimeMs(move.limitMs);
      } catch {
        // Steering asks again after the next pass; if the connection is lost, Perform rejects.
        return { name: 'converging', limitMs, iterations };
      }
      onDecision('downtime limit raised', { limitMs: move.limitMs, ...move.why });
      return { name: 'converging', limitMs: move.limitMs, iterations };
    case 'post-copy':
      onDecision('post-copy', move.why);
      return POST_COPY;
    case 'give-up':
      onDecision('given up', move.why);
      return new HandoffError(move.code, `the copy was given up: ${move.why.because}`, { detail: move.why });
  }
}
