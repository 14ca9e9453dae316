import type { z } from 'zod';
import type { Evidence } from '../../contract/facts.ts';
import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { type Decision, decideRecovery, type RecoveryInput } from './recovery.ts';

/**
 * A migration was settled while a host did not answer: it was flagged. When the host is back, what was left there is put
 * right: the VM is resumed on a source that owns it, a source's stale copy is removed, an incoming copy is destroyed.
 *
 * Who owned the VM when the migration ended is known, and is not asked again: since then it may have been moved on, stopped or
 * started by others, so that what the *other* host shows proves nothing any more. Whoever asks holds the VM's lock, so that none
 * of our own migrations is at work on it; a newer one whose pre-copy was ordered has taken the flags of its hosts away, because
 * its preflight had found nothing left there. What fits neither is left alone, for a person to look at.
 */
export interface CleanupInput extends RecoveryInput {
  owner: Role;
  pendingCleanup: readonly Role[];
  /** Whether a newer migration left the VM elsewhere than on this one's source. */
  movedOn: boolean;
}

type Left =
  | { kind: 'nothing' | 'silent' }
  | { kind: 'wait' | 'ask'; why: string }
  | { kind: 'act'; action: z.infer<typeof AbortAction>; why: string };

const NOTHING: Left = { kind: 'nothing' };

/** The same decisions as in recovery; one that settles names the hosts that are still silent. */
export function decideCleanup(input: CleanupInput): Decision {
  const left = input.pendingCleanup.map((role) => [role, leftOn(role, input)] as const);
  const { owner } = input;
  const pendingCleanup = left.flatMap(([role, { kind }]) => (kind === 'silent' ? [role] : []));
  for (const [role, each] of left) if (each.kind === 'act') return { role, pendingCleanup: [], ...each };
  for (const kind of ['wait', 'ask'] as const) {
    const [first] = left.flatMap(([role, each]) => (each.kind === kind ? [`on the ${role} ${each.why}`] : []));
    if (first !== undefined) return { kind: kind === 'ask' ? 'operator' : 'wait', why: first };
  }
  const why = pendingCleanup.length === 0 ? 'nothing is left on the hosts that did not answer' : 'still no answer';
  return { kind: 'settle', owner, why, pendingCleanup };
}

function leftOn(role: Role, input: CleanupInput): Left {
  const here = input[role];
  if (here === 'unreachable') return { kind: 'silent' };
  if (role === 'destination') return input.owner === 'source' ? copyNotStarted(here, input) : ownCopy(here);
  // libvirt keeps the job of a post-copy's half for as long as that is there.
  if (here.jobActive && here.state !== 'postcopy-failed') return { kind: 'wait', why: 'libvirt still has a job' };
  return input.owner === 'source' ? ownVm(here, input) : staleCopy(here, input);
}

/** On the source, which owned the VM: it may stand still there, paused by the migration. */
function ownVm({ state }: Evidence, input: CleanupInput): Left {
  switch (state) {
    // Shut off or gone: it ended with its QEMU, as when the host lost its power.
    case 'running':
    case 'paused':
    case 'absent':
    case 'shutoff':
      return NOTHING;
    case 'migrating-paused': {
      if (input.movedOn) return ask('the VM is paused, and a newer migration says that it is elsewhere');
      // By the same proof as ever: the destination may have been started by hand since.
      const decision = decideRecovery(input);
      if (decision.kind === 'act' && decision.action === 'resume') return decision;
      return decision.kind === 'wait'
        ? { kind: 'wait', why: decision.why }
        : ask(`the VM is paused and cannot be resumed: ${decision.why}`);
    }
    default:
      return ask(`the VM is ${state}`);
  }
}

/** On the source, when the destination owned the VM. */
function staleCopy({ state }: Evidence, { destination, movedOn }: CleanupInput): Left {
  const remove: Left = {
    kind: 'act',
    action: 'remove-paused-copy',
    why: 'the destination took the VM over; this copy is stale',
  };
  switch (state) {
    case 'absent':
      return NOTHING;
    case 'migrating-paused':
      return remove;
    case 'postcopy-failed':
      return destination !== 'unreachable' && destination.state === 'running'
        ? remove
        : ask('its half of a post-copy is left, and the VM is not seen to be whole');
    case 'shutoff':
      // A definition is all there is, and it may be the last one.
      return movedOn || (destination !== 'unreachable' && destination.state === 'running')
        ? remove
        : ask('a definition of the VM is left, and the VM is not seen to run anywhere');
    default:
      return ask(`the VM is ${state}, although the destination took it over`);
  }
}

/** On the destination, when the source owned the VM. */
function copyNotStarted({ state }: Evidence, { commitRecord }: CleanupInput): Left {
  switch (state) {
    case 'absent':
    case 'shutoff':
      return NOTHING;
    case 'incoming':
      return commitRecord === 'REVOKED'
        ? { kind: 'act', action: 'destroy-incoming', why: 'the copy may not start any more' }
        : { kind: 'wait', why: 'a copy is still being received' };
    default:
      return ask(`the VM is ${state}, although the source kept it`);
  }
}

/** On the destination, which owned the VM: by the mover's report, or by an operator's word. */
function ownCopy({ state }: Evidence): Left {
  switch (state) {
    case 'running':
    case 'paused':
    case 'shutoff':
      return NOTHING;
    case 'incoming':
      return { kind: 'wait', why: 'a copy is still being received' };
    default:
      return ask(`the VM is ${state}, although it had taken it over`);
  }
}

const ask = (why: string): Left => ({ kind: 'ask', why });
