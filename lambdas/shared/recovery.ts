import type { z } from 'zod';
import type { CopyState, Evidence } from '../../contract/facts.ts';
import type { TicketState } from '../../contract/mailbox.ts';
import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/orders.ts';

/**
 * Who owns the VM? Decided from three proofs: the ticket (which by now is either REVOKED, so that the destination can never
 * have been started, or COMMITTED), and what each host showed after the source's mover was killed. A host that did not
 * answer is `unreachable`, which proves nothing: above all not that the VM is gone.
 *
 * Recovery looks, decides and acts in rounds until a round finds the VM settled. So every decision must hold on its own:
 * any round may be the first, and any act may have been interrupted.
 */
export type Seen = Evidence | 'unreachable';

export interface RecoveryInput {
  ticket: Exclude<TicketState, 'OPEN'>;
  source: Seen;
  destination: Seen;
  /**
   * Who owns the VM, says an operator who has looked where no agent answered. It stands in for what a host could not be
   * asked, never against what was proven.
   */
  word?: Role | undefined;
}

export type Decision =
  /** The VM is where it belongs; nothing is left to do on the hosts. `flagged` did not answer, which did not matter. */
  | { kind: 'settle'; owner: Role | 'none'; why: string; flagged?: Role }
  /** `flagged` did not answer; an operator spoke for it. */
  | { kind: 'act'; role: Role; action: z.infer<typeof AbortAction>; why: string; flagged?: Role }
  /** More evidence may come (a host answers again, libvirt finishes what it is at). */
  | { kind: 'wait'; why: string }
  /** Waiting cannot help: what was seen must not happen. */
  | { kind: 'operator'; why: string };

const NOT_RUNNING_HERE: readonly CopyState[] = ['absent', 'shutoff'];

export function decideRecovery({ ticket, source, destination, word }: RecoveryInput): Decision {
  if (source !== 'unreachable' && source.jobActive) {
    return { kind: 'wait', why: 'libvirt still has a migration job on the source' };
  }
  const from = source === 'unreachable' ? 'unreachable' : source.state;
  const to = destination === 'unreachable' ? 'unreachable' : destination.state;

  if (from === 'running' && to === 'running') {
    return { kind: 'operator', why: 'the VM runs on both hosts, which the protocol rules out: stop one by hand' };
  }
  if (from === 'incoming')
    return { kind: 'operator', why: 'the source shows an incoming copy of the VM it should own' };
  if (from === 'postcopy-failed' || to === 'postcopy-failed') {
    return {
      kind: 'operator',
      why: 'a post-copy migration broke: each host holds one half of the VM, and both are needed',
    };
  }
  const against = word === undefined ? undefined : proofAgainst(word, ticket, from, to);
  if (against !== undefined) {
    return { kind: 'operator', why: `the word that the ${word} owns the VM is refused, because ${against}` };
  }
  if (ticket === 'REVOKED') return neverHandedOver(from, to);
  return (
    (word === 'source' && onWordOfSource(from, to)) ||
    (word === 'destination' && onWordOfDestination(from, to)) ||
    perhapsHandedOver(from, to)
  );
}

type Sight = Exclude<CopyState, 'postcopy-failed' | 'incoming'> | 'unreachable';

/** REVOKED: Finish was never sent, so whatever the destination holds has never run. */
function neverHandedOver(from: Sight, to: Sight | 'incoming'): Decision {
  if (to === 'running' || to === 'paused') {
    if (from === 'absent' || from === 'shutoff') {
      return { kind: 'settle', owner: 'destination', why: 'the VM was on the destination all along' };
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
    };
  }
  switch (from) {
    case 'running':
    case 'paused':
      return { kind: 'settle', owner: 'source', why: `the VM is ${from} on the source, as it was` };
    case 'migrating-paused':
      return { kind: 'act', role: 'source', action: 'resume', why: 'the handover was never committed' };
    case 'unreachable':
      return { kind: 'settle', owner: 'source', why: 'the handover was never committed', flagged: 'source' };
    case 'absent':
    case 'shutoff':
      return {
        kind: 'settle',
        owner: 'none',
        why: `the VM is ${from} on the source and was never started on the destination`,
      };
  }
}

/** COMMITTED: the mover had the right to send Finish; only the hosts can say whether it did, and how it ended. */
function perhapsHandedOver(from: Sight, to: Sight | 'incoming'): Decision {
  const gone = to !== 'unreachable' && NOT_RUNNING_HERE.includes(to);
  if (to === 'running') {
    // One that is shut off (its QEMU was killed) is no less dangerous: whoever starts it there has the VM twice.
    if (from === 'migrating-paused' || from === 'paused' || from === 'shutoff') {
      return { kind: 'act', role: 'source', action: 'remove-paused-copy', why: 'the VM runs on the destination' };
    }
    return {
      kind: 'settle',
      owner: 'destination',
      why: 'the VM runs on the destination',
      ...(from === 'unreachable' && { flagged: 'source' as const }),
    };
  }
  if (gone && from === 'running') {
    return {
      kind: 'settle',
      owner: 'source',
      why: 'the mover cancelled the handover after the commit; the destination has no copy',
    };
  }
  if (gone && from === 'migrating-paused') {
    return { kind: 'act', role: 'source', action: 'resume', why: 'the destination proved that it has no copy' };
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
  ticket: RecoveryInput['ticket'],
  from: Sight,
  to: Sight | 'incoming',
): string | undefined {
  if (word === 'source') {
    if (to === 'running') return 'it runs on the destination';
    // A VM that is nowhere, and was never handed over, is settled as such.
    return from === 'absent' && ticket === 'COMMITTED' ? 'the source does not have it' : undefined;
  }
  if (from === 'running') return 'it runs on the source';
  if (to === 'absent' || to === 'shutoff' || to === 'incoming') return `on the destination it is ${to}`;
  return ticket === 'REVOKED' && to === 'unreachable' ? 'the handover was never committed' : undefined;
}

/** COMMITTED, and the source owns the VM: the destination, if it can't be asked, does not run it. */
function onWordOfSource(from: Sight, to: Sight | 'incoming'): Decision | undefined {
  if (to !== 'unreachable' && !NOT_RUNNING_HERE.includes(to)) return undefined;
  const why = "the destination does not run it, by proof or by the operator's word";
  const silent = from === 'unreachable' ? 'source' : to === 'unreachable' ? 'destination' : undefined;
  const flagged = silent !== undefined && { flagged: silent as Role };
  if (from === 'migrating-paused') return { kind: 'act', role: 'source', action: 'resume', why, ...flagged };
  return { kind: 'settle', owner: 'source', why, ...flagged };
}

/** COMMITTED, and the destination, which can't be asked, runs the VM. */
function onWordOfDestination(from: Sight, to: Sight | 'incoming'): Decision | undefined {
  if (to !== 'unreachable') return undefined;
  const why = "the destination runs it, by the operator's word";
  if (from === 'migrating-paused' || from === 'paused')
    return { kind: 'act', role: 'source', action: 'remove-paused-copy', why, flagged: 'destination' };
  return { kind: 'settle', owner: 'destination', why, flagged: 'destination' };
}
