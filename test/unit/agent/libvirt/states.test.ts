import { describe, expect, it } from 'vitest';
import { copyStateOf, dependsOnJob, stateWords } from '../../../../agent/libvirt/states.ts';
import type { CopyState } from '../../../../contract/facts.ts';

type Job = 'migration-in' | 'migration-out' | 'other' | undefined;

describe('the state of a copy', () => {
  it.each<[state: number, reason: number, job: Job, CopyState, words: string]>([
    [1, 1, undefined, 'running', 'running (booted)'],
    [1, 2, undefined, 'running', 'running (migrated)'],
    [1, 1, 'migration-out', 'running', 'running (booted)'],
    [1, 6, undefined, 'running', 'running (migration canceled)'],
    [1, 10, 'migration-in', 'postcopy-running', 'running (post-copy)'],
    [1, 11, 'migration-in', 'postcopy-failed', 'running (post-copy failed)'],
    [2, 0, undefined, 'running', 'idle (unknown)'],
    // The source after Perform, with its mover alive and dead.
    [3, 2, 'migration-out', 'migrating-paused', 'paused (migrating)'],
    [3, 2, undefined, 'migrating-paused', 'paused (migrating)'],
    // The destination from Prepare until Finish: the same words.
    [3, 2, 'migration-in', 'incoming', 'paused (migrating)'],
    [3, 11, 'migration-in', 'incoming', 'paused (starting up)'],
    [3, 11, undefined, 'paused', 'paused (starting up)'],
    [3, 12, 'migration-out', 'postcopy-paused', 'paused (post-copy)'],
    [3, 13, 'migration-out', 'postcopy-failed', 'paused (post-copy failed)'],
    [3, 13, undefined, 'postcopy-failed', 'paused (post-copy failed)'],
    [3, 1, undefined, 'paused', 'paused (user)'],
    [3, 5, undefined, 'paused', 'paused (I/O error)'],
    // A user's pause stays one while the guest is being copied.
    [3, 1, 'migration-out', 'paused', 'paused (user)'],
    [3, 3, 'other', 'paused', 'paused (saving)'],
    // About to be gone: it proves neither that the VM runs here nor that it does not.
    [4, 0, undefined, 'paused', 'in shutdown (unknown)'],
    [4, 1, undefined, 'paused', 'in shutdown (user)'],
    [5, 2, undefined, 'shutoff', 'shut off (destroyed)'],
    [5, 4, undefined, 'shutoff', 'shut off (migrated)'],
    [6, 1, undefined, 'paused', 'crashed (panicked)'],
    [7, 0, undefined, 'paused', 'pmsuspended (unknown)'],
    // What nobody knows must neither be started elsewhere nor be taken away elsewhere.
    [0, 0, undefined, 'paused', 'no state (unknown)'],
    [8, 3, undefined, 'paused', 'state 8 (reason 3)'],
    [3, 99, undefined, 'paused', 'paused (reason 99)'],
  ])('%i, reason %i, job %s: %s', (state, reason, job, expected, words) => {
    expect(copyStateOf(state, reason, job)).toBe(expected);
    expect(stateWords(state, reason)).toBe(words);
  });

  it('needs a look at the job only when paused', () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7].filter(dependsOnJob)).toEqual([3]);
  });
});
