import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { factsOf, type OwnershipEvidence, type OwnershipFacts, silentRoles } from './evidence.ts';
import { ruleFor } from './recovery-rules.ts';

/**
 * Who owns the VM, and what is to be done. Recovery inspects, decides and acts in rounds until a round finds the VM settled. So every
 * decision must hold on its own: any round may be the first, and any act may have been interrupted.
 */
export type OwnershipDecision =
  /**
   * The VM is where it belongs; nothing is left to do on the hosts that answered. The hosts in `pendingCleanup` did not, which does
   * not matter for the VM; what may be left on them is cleaned up when they are back (decide-cleanup.ts).
   */
  | { kind: 'settle'; owner: Role | 'none'; why: string; pendingCleanup: readonly Role[] }
  /**
   * One action on one host. `pendingCleanup`: the silent hosts that are worth waiting for before it; empty where the action is due
   * at once.
   */
  | { kind: 'act'; role: Role; action: AbortAction; why: string; pendingCleanup: readonly Role[] }
  /** More evidence may come (a host answers again, libvirt finishes what it is at). */
  | { kind: 'wait'; why: string }
  /** Waiting cannot help: what was seen must not happen, or only a person can find out more. */
  | { kind: 'operator'; why: string };

export function decideOwnership(evidence: OwnershipEvidence): OwnershipDecision {
  return decideFromFacts(factsOf(evidence));
}

export function decideFromFacts(facts: OwnershipFacts): OwnershipDecision {
  const { decision, why: reason } = ruleFor(facts);
  const shown = { source: facts.source, destination: facts.destination, operator: String(facts.operatorDecision) };
  const why = reason.replace(/\{(source|destination|operator)\}/g, (_, name: keyof typeof shown) => shown[name]);
  switch (decision.kind) {
    case 'settle':
      return { ...decision, why, pendingCleanup: silentRoles(facts) };
    case 'act':
      return {
        kind: 'act',
        role: decision.role,
        action: decision.action,
        why,
        pendingCleanup: decision.atOnce === true ? [] : silentRoles(facts),
      };
    case 'wait':
    case 'operator':
      return { ...decision, why };
  }
}
