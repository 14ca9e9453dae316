import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';

/** Starts the observer, which waits for the VM and its switch for as long as the migration takes, and reports for itself. */
export async function observeGuest(deps: AgentDeps, task: TaskOf<'observe-guest'>): Promise<'observer-reports'> {
  await deps.observers.start(task);
  return 'observer-reports';
}
