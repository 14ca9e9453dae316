import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { cleanupRuleFor } from './cleanup-rules.ts';
import { decideOwnership, type OwnershipDecision } from './decide-ownership.ts';
import { jobLastsAsLongAs, type OwnershipEvidence, stateOf } from './evidence.ts';

/**
 * A migration was settled while a host did not answer, so that a cleanup of that host is pending. When the host is back, what was
 * left there is put right: the VM is resumed on a source that owns it, a stale copy of the source is removed, an incoming copy is
 * destroyed.
 *
 * Who owned the VM when the migration ended is known and is not decided again: since then the VM may have been moved on, stopped or
 * started by others, so that what the *other* host shows proves nothing any more. The caller holds the VM's lock, so that none of our
 * own migrations is at work on the VM; a newer one whose pre-copy task was sent has removed the pending cleanups of its hosts,
 * because its preflight had found nothing left there. What fits neither is left alone, for a person to inspect.
 */
export interface CleanupEvidence extends OwnershipEvidence {
  /** When the migration ended. */
  owner: Role;
  pendingCleanup: readonly Role[];
  /** A newer migration left the VM elsewhere than on this one's source. */
  movedOn: boolean;
}

/** What is left on one host. */
type Remainder =
  | { kind: 'nothing' | 'silent' }
  | { kind: 'wait' | 'operator'; why: string }
  | { kind: 'act'; action: AbortAction; why: string };

/** Decisions of the same kinds as recovery's; one that settles names the hosts that are still silent. */
export function decideCleanup(evidence: CleanupEvidence): OwnershipDecision {
  const remainders = evidence.pendingCleanup.map((role) => [role, remainderOn(role, evidence)] as const);
  for (const [role, left] of remainders) {
    if (left.kind === 'act') return { kind: 'act', role, action: left.action, why: left.why, pendingCleanup: [] };
  }
  for (const kind of ['wait', 'operator'] as const) {
    for (const [role, left] of remainders) if (left.kind === kind) return { kind, why: `on the ${role} ${left.why}` };
  }
  const pendingCleanup = remainders.flatMap(([role, { kind }]) => (kind === 'silent' ? [role] : []));
  const why = pendingCleanup.length === 0 ? 'nothing is left on the hosts that did not answer' : 'still no answer';
  return { kind: 'settle', owner: evidence.owner, why, pendingCleanup };
}

function remainderOn(role: Role, evidence: CleanupEvidence): Remainder {
  const host = evidence[role];
  const state = stateOf(host);
  const { decision, why } = cleanupRuleFor({
    owner: evidence.owner,
    role,
    state,
    pendingJob: host !== 'unreachable' && host.jobActive && !jobLastsAsLongAs(state),
    commitRecord: evidence.commitRecord,
    movedOn: evidence.movedOn,
    runsOnDestination: stateOf(evidence.destination) === 'running',
  });
  const text = why.replace('{state}', state);
  if (decision === 'as-recovery') return asRecoveryDecides(evidence);
  if (decision === 'nothing' || decision === 'silent') return { kind: decision };
  if (decision === 'wait' || decision === 'operator') return { kind: decision, why: text };
  return { kind: 'act', action: decision, why: text };
}

/** By the same proof as ever: the destination may have been started by hand since. */
function asRecoveryDecides(evidence: CleanupEvidence): Remainder {
  const decision = decideOwnership(evidence);
  if (decision.kind === 'act' && decision.action === 'resume') return decision;
  if (decision.kind === 'wait') return decision;
  return { kind: 'operator', why: `the VM is paused and cannot be resumed: ${decision.why}` };
}
