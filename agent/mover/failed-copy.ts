import type { Clock } from '../../common/clock.ts';
import { HandoffError } from '../../contract/errors.ts';
import { messageOf } from '../error-message.ts';
import { eventually } from '../eventually.ts';
import { type Domain, HypervisorError } from '../hypervisor.ts';

/** libvirt needs 1-2 s to wind a job up; with a dead network, as long as its keepalive (30 s). */
const WIND_UP = { everyMs: 200, limitMs: 45_000 };

/**
 * After Perform has failed: waits until libvirt has wound the job up and the source is seen to run, or to have ended. Returns the
 * error to report, which says so if the source was not seen to run. `abortReason`: why the copy was ended, if the mover ended it.
 */
export async function failureOfCopy(
  source: Domain,
  clock: Clock,
  abortReason: HandoffError | undefined,
  cause: unknown,
): Promise<HandoffError> {
  let seen = 'could not be inspected';
  let runs = false;
  await eventually({ clock }, WIND_UP, async () => {
    try {
      const [job, { state, detail }] = await Promise.all([source.job(), source.state()]);
      seen = `was ${detail}${job === undefined ? '' : ', with libvirt still at the job'}`;
      runs = job === undefined && state === 'running';
      // A guest that has ended will not run again.
      return runs || state === 'shutoff' || state === 'absent';
    } catch (error) {
      // With its connection lost this mover sees no more; recovery opens one of its own.
      return error instanceof HypervisorError && !error.answered;
    }
  });
  const why = abortReason?.message ?? messageOf(cause);
  return new HandoffError(
    abortReason?.code ?? 'CopyFailed',
    runs ? why : `${why}; the VM ${seen} on the source afterwards`,
    { ...(abortReason?.detail && { detail: abortReason.detail }), cause },
  );
}
