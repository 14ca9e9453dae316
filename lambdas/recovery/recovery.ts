import type { z } from 'zod';
import type { CopyState, Evidence } from '../../contract/facts.ts';
import type { CommitRecordState } from '../../contract/mailbox.ts';
import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';

/**
 * Who owns the VM? Decided from three proofs: the commit record (which by now is either REVOKED, so that the destination can never
 * have been started, or COMMITTED), and what each host showed after the source's mover was killed. A host that did not
 * answer is `unreachable`, which proves nothing: above all not that the VM is gone.
 *
 * Recovery looks, decides and acts in rounds until a round finds the VM settled. So every decision must hold on its own:
 * any round may be the first, and any act may have been interrupted.
 */
export type Seen = Evidence | 'unreachable';

export interface RecoveryInput {
  commitRecord: Exclude<CommitRecordState, 'OPEN'>;
  source: Seen;
  destination: Seen;
  /**
   * Whether the mover reported that Finish answered with success, or that it saw the VM run on the destination. Only the
   * mover that claimed this migration's order writes such a report, into the mailbox that holds the commit record, and only after its
   * commit. From that moment on the destination's guest writes to the disk: the source's copy has an older memory and must
   * never run again, whatever becomes of the other one. It does not say that the VM still runs there.
   */
  started?: boolean | undefined;
  /**
   * Who owns the VM, says an operator who has looked where no agent answered. It stands in for what a host could not be
   * asked, never against what was proven.
   */
  word?: Role | undefined;
}

export type Decision =
  /**
   * The VM is where it belongs; nothing is left to do on the hosts that answered. Those in `flagged` did not, which does not
   * matter for the VM; what may be left on them is put right when they are back (follow-up.ts).
   */
  | { kind: 'settle'; owner: Role | 'none'; why: string; pendingCleanup: readonly Role[] }
  /** `flagged` did not answer; an operator spoke for them. */
  | {
      kind: 'act';
      role: Role;
      action: z.infer<typeof AbortAction>;
      why: string;
      pendingCleanup: readonly Role[];
    }
  /** More evidence may come (a host answers again, libvirt finishes what it is at). */
  | { kind: 'wait'; why: string }
  /** Waiting cannot help: what was seen must not happen. */
  | { kind: 'operator'; why: string };

const NOT_RUNNING_HERE: readonly CopyState[] = ['absent', 'shutoff'];

export function decideRecovery({ commitRecord, source, destination, started, word }: RecoveryInput): Decision {
  const from = source === 'unreachable' ? 'unreachable' : source.state;
  const to = destination === 'unreachable' ? 'unreachable' : destination.state;
  // First, because libvirt keeps the job of a source's half for as long as that half is there.
  if (isHalf(from) || isHalf(to)) {
    return twoHalves(commitRecord, from, to, source !== 'unreachable' && source.jobActive);
  }
  if (source !== 'unreachable' && source.jobActive) {
    return { kind: 'wait', why: 'libvirt still has a migration job on the source' };
  }

  if (from === 'running' && to === 'running') {
    return { kind: 'operator', why: 'the VM runs on both hosts, which the protocol rules out: stop one by hand' };
  }
  if (from === 'incoming')
    return { kind: 'operator', why: 'the source shows an incoming copy of the VM it should own' };
  const handedOver = commitRecord === 'COMMITTED' && started === true;
  const against = word === undefined ? undefined : proofAgainst(word, { commitRecord, from, to, handedOver });
  if (against !== undefined) {
    return { kind: 'operator', why: `the word that the ${word} owns the VM is refused, because ${against}` };
  }
  if (commitRecord === 'REVOKED') return neverHandedOver(from, to);
  return (
    (word === 'source' && onWordOfSource(from, to)) ||
    (handedOver && handedOverForGood(from, to)) ||
    (word === 'destination' && onWordOfDestination(from, to)) ||
    perhapsHandedOver(from, to)
  );
}

const HALVES = ['postcopy-paused', 'postcopy-running', 'postcopy-failed'] as const;
type Half = (typeof HALVES)[number];
const isHalf = (state: CopyState | 'unreachable'): state is Half => (HALVES as readonly string[]).includes(state);

/**
 * In a post-copy each host has a half of the VM. Neither is ever taken away before the VM is whole on the destination, whatever an
 * operator says: his word cannot put memory together. Where the stream holds libvirt goes through with it by itself, also without
 * a mover; where it broke the source is told to send the rest.
 */
function twoHalves(
  commitRecord: RecoveryInput['commitRecord'],
  from: CopyState | 'unreachable',
  to: CopyState | 'unreachable',
  jobActive: boolean,
): Decision {
  if (commitRecord === 'REVOKED' || from === 'postcopy-running' || to === 'postcopy-paused' || from === 'running') {
    const why = `a post-copy shows the source ${from} and the destination ${to}, which the protocol rules out`;
    return { kind: 'operator', why };
  }
  switch (to) {
    case 'running':
      // libvirt may be about to take it away; one that was restarted meanwhile leaves it as it is.
      if (from === 'postcopy-paused' && jobActive)
        return { kind: 'wait', why: 'the post-copy is being wound up on the source' };
      return {
        kind: 'act',
        role: 'source',
        action: 'remove-paused-copy',
        why: 'the destination has all of the VM and runs it',
        pendingCleanup: [],
      };
    case 'postcopy-running':
    case 'postcopy-failed':
      if (from === 'postcopy-failed') {
        const why = 'each host has a half of the VM: the source is to send the rest, if it is not at it';
        return { kind: 'act', role: 'source', action: 'resume-postcopy', why, pendingCleanup: [] };
      }
      if (to === 'postcopy-failed' && (from === 'absent' || from === 'shutoff')) return halfLost(from, to);
      return { kind: 'wait', why: `the post-copy goes on: the source is ${from}, the destination ${to}` };
    case 'absent':
    case 'shutoff':
      return halfLost(from, to);
    default:
      return { kind: 'wait', why: `the source has a half of the VM, and the destination is ${to}` };
  }
}

function halfLost(from: CopyState | 'unreachable', to: CopyState): Decision {
  return {
    kind: 'operator',
    why:
      `a half of the VM's memory is gone (source ${from}, destination ${to}), and QEMU cannot go on with the other: end what is ` +
      'left of it, and boot the VM where it belongs',
  };
}

type Sight = Exclude<CopyState, Half | 'incoming'> | 'unreachable';

/** The roles whose host did not answer. */
const silent = (from: Sight, to: Sight | 'incoming'): Role[] => [
  ...(from === 'unreachable' ? ['source' as const] : []),
  ...(to === 'unreachable' ? ['destination' as const] : []),
];

/** REVOKED: Finish was never sent, so whatever the destination holds has never run. */
function neverHandedOver(from: Sight, to: Sight | 'incoming'): Decision {
  const pendingCleanup = silent(from, to);
  if (to === 'running' || to === 'paused') {
    if (from === 'absent' || from === 'shutoff') {
      return { kind: 'settle', owner: 'destination', why: 'the VM was on the destination all along', pendingCleanup };
    }
    return {
      kind: 'operator',
      why: `a VM of that name is ${to} on the destination, which this migration has not started`,
    };
  }
  if (to === 'migrating-paused') {
    return { kind: 'operator', why: 'the destination holds the VM as the source of another migration' };
  }
  if (to === 'incoming') {
    return {
      kind: 'act',
      role: 'destination',
      action: 'destroy-incoming',
      why: 'the copy on the destination may not start any more',
      pendingCleanup: [],
    };
  }
  switch (from) {
    case 'running':
    case 'paused':
      return { kind: 'settle', owner: 'source', why: `the VM is ${from} on the source, as it was`, pendingCleanup };
    case 'migrating-paused':
      return {
        kind: 'act',
        role: 'source',
        action: 'resume',
        why: 'the handover was never committed',
        pendingCleanup: [],
      };
    case 'unreachable':
      return { kind: 'settle', owner: 'source', why: 'the handover was never committed', pendingCleanup };
    case 'absent':
    case 'shutoff':
      return {
        kind: 'settle',
        owner: 'none',
        why: `the VM is ${from} on the source and was never started on the destination`,
        pendingCleanup,
      };
  }
}

/**
 * COMMITTED, and the mover reported that the destination runs the VM: what is left of it on the source is stale, also while
 * nobody can ask the destination, and also when it has ended there since.
 */
function handedOverForGood(from: Sight, to: Sight | 'incoming'): Decision | undefined {
  if (to !== 'unreachable' && !NOT_RUNNING_HERE.includes(to)) return undefined;
  if (from === 'running') {
    return {
      kind: 'operator',
      why: `the mover reported that the destination runs the VM, yet it is running on the source and ${to} on the destination`,
    };
  }
  if (from === 'absent' && to === 'shutoff') {
    const why = 'the destination ran the VM, which has ended there since; nothing of it is left on the source';
    return { kind: 'settle', owner: 'none', why, pendingCleanup: [] };
  }
  if (to !== 'unreachable') {
    return {
      kind: 'operator',
      why:
        `the destination ran the VM and has written to its disks, and it is ${to} there now; what the source has ` +
        `(${from}) is older than the disks and must not be resumed: boot the VM where it belongs`,
    };
  }
  const why = 'the mover reported that the destination runs the VM';
  const pendingCleanup = silent(from, to);
  if (from === 'absent' || from === 'unreachable') return { kind: 'settle', owner: 'destination', why, pendingCleanup };
  return { kind: 'act', role: 'source', action: 'remove-paused-copy', why, pendingCleanup };
}

/** COMMITTED: the mover had the right to send Finish; only the hosts can say whether it did, and how it ended. */
function perhapsHandedOver(from: Sight, to: Sight | 'incoming'): Decision {
  const pendingCleanup = silent(from, to);
  const gone = to !== 'unreachable' && NOT_RUNNING_HERE.includes(to);
  if (to === 'running') {
    // One that is shut off (its QEMU was killed) is no less dangerous: whoever starts it there has the VM twice.
    if (from === 'migrating-paused' || from === 'paused' || from === 'shutoff') {
      return {
        kind: 'act',
        role: 'source',
        action: 'remove-paused-copy',
        why: 'the VM runs on the destination',
        pendingCleanup,
      };
    }
    return { kind: 'settle', owner: 'destination', why: 'the VM runs on the destination', pendingCleanup };
  }
  if (gone && from === 'running') {
    return {
      kind: 'settle',
      owner: 'source',
      why: 'the mover cancelled the handover after the commit; the destination has no copy',
      pendingCleanup,
    };
  }
  if (to === 'shutoff' && from === 'migrating-paused') {
    return {
      kind: 'operator',
      why:
        'the VM is shut off on the destination: it may have been started there and have ended, after writing to its disks, and ' +
        "then the source's copy is older than they are",
    };
  }
  if (gone && from === 'migrating-paused') {
    const why = 'the destination proved that it has no copy';
    return { kind: 'act', role: 'source', action: 'resume', why, pendingCleanup };
  }
  if (gone && from !== 'unreachable') {
    return {
      kind: 'operator',
      why: `the handover was committed, yet the VM is ${from} on the source and ${to} on the destination; start it where it belongs`,
    };
  }
  return { kind: 'wait', why: `the source is ${from} and the destination ${to}: neither proves who owns the VM` };
}

/** What was proven that an operator's word cannot undo. */
function proofAgainst(
  word: Role,
  {
    commitRecord,
    from,
    to,
    handedOver,
  }: { commitRecord: RecoveryInput['commitRecord']; from: Sight; to: Sight | 'incoming'; handedOver: boolean },
): string | undefined {
  if (word === 'source') {
    if (to === 'running') return 'it runs on the destination';
    if (handedOver && from !== 'running') {
      return "the destination ran it, so that a copy of the source's is older than the disks";
    }
    // A VM that is nowhere, and was never handed over, is settled as such.
    return from === 'absent' && commitRecord === 'COMMITTED' ? 'the source does not have it' : undefined;
  }
  if (from === 'running') return 'it runs on the source';
  if (to === 'absent' || to === 'shutoff' || to === 'incoming') return `on the destination it is ${to}`;
  return commitRecord === 'REVOKED' && to === 'unreachable' ? 'the handover was never committed' : undefined;
}

/** COMMITTED, and the source owns the VM: the destination, if it can't be asked, does not run it. */
function onWordOfSource(from: Sight, to: Sight | 'incoming'): Decision | undefined {
  if (to !== 'unreachable' && !NOT_RUNNING_HERE.includes(to)) return undefined;
  const why = "the destination does not run it, by proof or by the operator's word";
  const pendingCleanup = silent(from, to);
  if (from === 'migrating-paused') return { kind: 'act', role: 'source', action: 'resume', why, pendingCleanup };
  return { kind: 'settle', owner: 'source', why, pendingCleanup };
}

/** COMMITTED, and the destination, which can't be asked, runs the VM. */
function onWordOfDestination(from: Sight, to: Sight | 'incoming'): Decision | undefined {
  if (to !== 'unreachable') return undefined;
  const why = "the destination runs it, by the operator's word";
  const pendingCleanup = silent(from, to);
  if (from === 'migrating-paused' || from === 'paused')
    return { kind: 'act', role: 'source', action: 'remove-paused-copy', why, pendingCleanup };
  return { kind: 'settle', owner: 'destination', why, pendingCleanup };
}
