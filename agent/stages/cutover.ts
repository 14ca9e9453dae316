import { HandoffError } from '../../contract/errors.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';

/** Hands the cutover to the mover that holds the copy, which reports for itself. */
export async function cutover(deps: AgentDeps, task: TaskOf<'cutover'>): Promise<'mover-reports'> {
  if (await deps.movers.cutover(task.migrationId, task.requestId)) return 'mover-reports';
  throw new HandoffError(
    'MoverGone',
    `no mover of ${task.migrationId} runs on ${task.hostId}; the copy it held is gone with it`,
  );
}
