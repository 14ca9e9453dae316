import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';

/** Starts the mover, which carries the migration from here to its end and reports for itself. */
export async function precopy(deps: AgentDeps, task: TaskOf<'precopy'>): Promise<'mover-reports'> {
  await deps.movers.start(task);
  return 'mover-reports';
}
