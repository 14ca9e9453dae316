import type { Clock } from '../../common/clock.ts';
import { requestIdOf } from '../../contract/names.ts';
import { StorageTask } from '../../contract/tasks.ts';
import { eventually } from '../eventually.ts';
import type { Mailbox } from '../mailbox.ts';

const POLL_MS = 500;

/**
 * Makes sure that no more images are made for a migration. A storage task that nobody has claimed is claimed here, so that an agent
 * which receives it later refuses it. One that has been claimed is waited for, until its report is there or its time is over (after
 * which it leaves no images).
 */
export async function fenceStorage(
  { mailbox, clock }: { mailbox: Mailbox; clock: Clock },
  migrationId: string,
): Promise<void> {
  const requestId = requestIdOf(migrationId, 'storage', 'destination', 1);
  if (await mailbox.claim(requestId)) return;
  const task = StorageTask.safeParse(await mailbox.readTask(requestId)).data;
  if (task === undefined) return;
  const limitMs = Date.parse(task.expiresAt) - clock.now();
  await eventually({ clock }, { everyMs: POLL_MS, limitMs }, () => mailbox.ended(requestId));
}
