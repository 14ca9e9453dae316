import type { CopyState } from '../../contract/facts.ts';
import type { JobStats } from '../hypervisor.ts';

/** virDomainState, by number, with virsh's words; the reasons of each state by number, too. */
const STATES: readonly (readonly [words: string, reasons: readonly string[]])[] = [
  ['no state', ['unknown']],
  [
    'running',
    [
      'unknown',
      'booted',
      'migrated',
      'restored',
      'from snapshot',
      'unpaused',
      'migration canceled',
      'save canceled',
      'event wakeup',
      'crashed',
      'post-copy',
      'post-copy failed',
    ],
  ],
  ['idle', ['unknown']],
  [
    'paused',
    [
      'unknown',
      'user',
      'migrating',
      'saving',
      'dumping',
      'I/O error',
      'watchdog',
      'from snapshot',
      'shutting down',
      'creating snapshot',
      'crashed',
      'starting up',
      'post-copy',
      'post-copy failed',
      'api error',
    ],
  ],
  ['in shutdown', ['unknown', 'user']],
  [
    'shut off',
    ['unknown', 'shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from snapshot', 'daemon'],
  ],
  ['crashed', ['unknown', 'panicked']],
  ['pmsuspended', ['unknown']],
];

/** libvirt's state and reason, such as 3 and 2, the way virsh says them: "paused (migrating)". */
export function stateWords(state: number, reason: number): string {
  const [words, reasons] = STATES[state] ?? [`state ${state}`, []];
  return `${words} (${reasons[reason] ?? `reason ${reason}`})`;
}

/** Whether the kind of the active job is needed to tell which state this is. */
export function dependsOnJob(state: number): boolean {
  return words(state) === 'paused';
}

/**
 * What recovery needs to know of a domain, from libvirt's state and reason and the kind of job active on it.
 *
 * The two halves of a migration look alike to GET_STATE: both are "paused (migrating)". Only the job tells them apart: a
 * copy being received has an incoming one from Prepare until Finish. In doubt the answer is `paused`, on which nothing is done:
 * a copy that is gone may be started elsewhere, and one that runs lets the other be taken away.
 */
export function copyStateOf(state: number, reason: number, job: JobStats['operation'] | undefined): CopyState {
  const why = STATES[state]?.[1][reason];
  if (why === 'post-copy failed') return 'postcopy-failed';
  if (why === 'post-copy') return words(state) === 'running' ? 'postcopy-running' : 'postcopy-paused';
  switch (words(state)) {
    case 'paused':
      if (job === 'migration-in') return 'incoming';
      return why === 'migrating' ? 'migrating-paused' : 'paused';
    // QEMU is kept, with the guest stopped in it: nothing runs, but the memory is held.
    case 'crashed':
    case 'pmsuspended':
      return 'paused';
    case 'shut off':
      return 'shutoff';
    case 'running':
    case 'idle':
      return 'running';
    // Above all "in shutdown": a libvirtd that was killed and is back ends the copy it was receiving, and shows it so meanwhile.
    default:
      return 'paused';
  }
}

function words(state: number): string | undefined {
  return STATES[state]?.[0];
}
