import type { Clock } from '../../common/clock.ts';

/** The control plane takes a mover that it has not heard of for `heartbeatTimeoutSeconds`, 10 at least, for lost. */
const HEARTBEAT_MS = 2_000;

/**
 * Calls `beat` every 2 s until the returned function is called. The control plane must see that the mover lives, also where it can only
 * wait: Prepare takes as long as QEMU's start, and a handover may have to find out its outcome.
 */
export function startHeartbeat(clock: Pick<Clock, 'timer'>, beat: () => void): () => void {
  let cancelTimer = () => {};
  const next = () => {
    cancelTimer = clock.timer(HEARTBEAT_MS, () => {
      beat();
      next();
    });
  };
  next();
  return () => cancelTimer();
}
