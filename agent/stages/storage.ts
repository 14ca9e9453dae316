import { HandoffError } from '../../contract/errors.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { makeImages, removeImages } from '../migrated-storage/images.ts';

/**
 * Creates the images of the migrated disks. When they are complete only after the task has expired, they are removed again: recovery may
 * have asked for images by then, and does not ask twice.
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
