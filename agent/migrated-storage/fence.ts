import { requestIdOf } from '../../contract/names.ts';
import { StorageTask } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { eventually } from '../stages/stage.ts';

const LOOK_MS = 500;

/**
 * Makes sure that no more images are made for a migration: a task that has not been begun is taken away from whoever it may still
 * be delivered to; one that has been is waited for, until it has been reported on or its time is over (after which it leaves nothing).
 */
export async function fenceStorage(
  { mailbox, clock }: Pick<AgentDeps, 'mailbox' | 'clock'>,
  migrationId: string,
): Promise<void> {
  const requestId = requestIdOf(migrationId, 'storage', 'destination', 1);
  if (await mailbox.claim(requestId)) return;
  const task = StorageTask.safeParse(await mailbox.readTask(requestId)).data;
  if (task === undefined) return;
  const limitMs = Date.parse(task.expiresAt) - clock.now();
  await eventually({ clock }, { everyMs: LOOK_MS, limitMs }, () => mailbox.ended(requestId));
}
