import { ADMISSION_MUTATIONS } from './admission.ts';
import { COMMIT_MUTATIONS } from './commit.ts';
import { IMAGES_MUTATIONS } from './images.ts';
import type { Mutation } from './mutation.ts';
import { POST_COPY_MUTATIONS } from './post-copy.ts';
import { RECOVERY_MUTATIONS } from './recovery.ts';
import { SETTLEMENT_MUTATIONS } from './settlement.ts';
import { TASKS_MUTATIONS } from './tasks.ts';

/** All safety measures that the simulation must notice to be off. */
export const MUTATIONS: readonly Mutation[] = [
  ...COMMIT_MUTATIONS,
  ...TASKS_MUTATIONS,
  ...RECOVERY_MUTATIONS,
  ...ADMISSION_MUTATIONS,
  ...SETTLEMENT_MUTATIONS,
  ...POST_COPY_MUTATIONS,
  ...IMAGES_MUTATIONS,
];
