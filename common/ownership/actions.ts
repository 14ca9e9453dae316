import type { CopyState } from '../../contract/facts.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { INACTIVE, SOURCE_HALF } from './evidence.ts';

/** The actions that touch the VM; the others touch images. */
export type VmAction = Exclude<AbortAction, 'keep-images' | 'remove-images'>;

export interface ActionStates {
  /** The only states in which the action is right. In any other the agent refuses it and touches nothing. */
  needs: readonly CopyState[];
  /** States that show that it was carried out. */
  achieves: readonly CopyState[];
  /** States that show that libvirt completes it by itself. */
  continues?: readonly CopyState[];
  /** States whose job of libvirt's does not stand in the way: the job is there for as long as the state lasts. */
  despiteJob: readonly CopyState[];
}

/**
 * What a host must show when an action arrives there. A decision is made from evidence that may have changed since; this is checked
 * by the agent that acts.
 */
export const ACTION_STATES: Record<VmAction, ActionStates> = {
  resume: { needs: ['migrating-paused'], achieves: ['running'], despiteJob: [] },
  'remove-paused-copy': {
    // `shutoff`: an earlier attempt got as far as ending the copy.
    needs: ['migrating-paused', ...SOURCE_HALF, 'shutoff'],
    achieves: ['absent'],
    despiteJob: ['postcopy-failed'],
  },
  'destroy-incoming': {
    needs: ['incoming'],
    // A definition that the host had before stays when the copy that came over it is gone.
    achieves: INACTIVE,
    despiteJob: ['incoming'],
  },
  'resume-postcopy': {
    needs: ['postcopy-failed'],
    achieves: INACTIVE,
    continues: ['postcopy-paused'],
    despiteJob: ['postcopy-failed'],
  },
};
