import { HandoffError } from '../../contract/errors.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { makeImages, removeImages } from '../migrated-storage/images.ts';

/**
 * Makes the images that the copy is written to. It is over before the task's time is, or leaves nothing: whoever waited for it may
 * have looked for images by then, and will not look again.
 */
export async function storage(
  { images, clock }: Pick<AgentDeps, 'images' | 'clock'>,
  { migrationId, disks, expiresAt }: TaskOf<'storage'>,
): Promise<ResultOf<'storage'>> {
  const made = await makeImages(images, migrationId, disks);
  if (clock.now() <= Date.parse(expiresAt)) return { stage: 'storage', made };
  await removeImages(images, migrationId, disks);
  throw new HandoffError('TaskExpired', `the images were made only after ${expiresAt}, and are removed again`);
}
