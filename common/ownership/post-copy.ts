import { DESTINATION_HALF, type HostState, INACTIVE, isOneOf, SOURCE_HALF } from './evidence.ts';

/**
 * Where a committed post-copy stands. In a post-copy each host has a half of the VM, and neither is a VM without the other. The mover
 * and recovery assess a post-copy by the same rules; what each of them does about it is in agent/mover/post-copy.ts and recovery.ts.
 */
export type PostCopyStatus =
  | 'complete'
  | 'broken'
  | 'half-lost'
  | 'finish-missing'
  | 'not-begun'
  | 'in-progress'
  | 'unknown';

export interface PostCopyRule {
  /** Absent: whatever the source shows. */
  source?: readonly HostState[];
  destination?: readonly HostState[];
  status: PostCopyStatus;
  /** What is known then. */
  meaning: string;
}

const OTHERWISE: PostCopyRule = {
  status: 'unknown',
  meaning: 'what was seen proves nothing yet, and may still change',
};

/** The first rule that matches applies. */
export const POST_COPY_RULES: readonly PostCopyRule[] = [
  {
    destination: ['running'],
    status: 'complete',
    meaning: "the destination has all of the VM and runs it; the source's half is not needed any more",
  },
  {
    source: ['postcopy-failed'],
    // A destination may not have seen the break yet. If the source's half was only left alone, an attempt to resume does no harm.
    destination: DESTINATION_HALF,
    status: 'broken',
    meaning:
      "each host has its half, and the stream between them broke, or nobody attends to the source's half: it has to be resumed",
  },
  {
    destination: ['postcopy-running'],
    status: 'in-progress',
    meaning: 'libvirt brings the VM together by itself, also without a mover',
  },
  {
    source: INACTIVE,
    destination: ['postcopy-failed'],
    status: 'half-lost',
    meaning: "the rest of the memory is gone with the source's half",
  },
  {
    source: SOURCE_HALF,
    destination: INACTIVE,
    status: 'half-lost',
    meaning: 'the memory that only the destination had is gone with its half',
  },
  {
    source: SOURCE_HALF,
    destination: ['incoming'],
    status: 'finish-missing',
    meaning: 'Finish has not reached the destination, which destroys its half when the client that prepared it is gone',
  },
  {
    source: ['running', 'paused', 'migrating-paused'],
    destination: INACTIVE,
    status: 'not-begun',
    meaning: 'QEMU has not begun post-copy: the source has all of the VM',
  },
  OTHERWISE,
];

export function assessPostCopy(source: HostState, destination: HostState): PostCopyStatus {
  const rule = POST_COPY_RULES.find(
    (each) =>
      (each.source === undefined || isOneOf(each.source, source)) &&
      (each.destination === undefined || isOneOf(each.destination, destination)),
  );
  return (rule ?? OTHERWISE).status;
}

/** Whether QEMU has gone over to post-copy, by what the source shows. */
export const hasPostCopyBegun = (source: HostState): boolean | 'unknown' =>
  source === 'unreachable' ? 'unknown' : isOneOf(SOURCE_HALF, source);

/** The guest runs on the destination and fetches the rest of its memory: its stream is not seen to be broken. */
export const runsInPostCopy = (destination: HostState): boolean => destination === 'postcopy-running';
