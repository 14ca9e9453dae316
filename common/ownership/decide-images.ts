import type { OwnershipDecision } from './decide-ownership.ts';
import type { OwnershipEvidence } from './evidence.ts';

/**
 * What becomes of the images that the migration made on the destination for the VM's migrated storage: in place of a decision that
 * settles, an action on the images first. They are left to the VM when the destination owns it, and removed when it does not.
 *
 * An image that the destination's guest may have written to is never removed: neither after the mover's report that it ran there,
 * nor by decision of an operator. It is left as an ordinary file, which the next preflight names.
 */
export function decideImages(
  decision: OwnershipDecision,
  { destination, startReported, operatorDecision }: OwnershipEvidence,
): OwnershipDecision {
  if (decision.kind !== 'settle' || destination === 'unreachable') return decision;
  const { madeImages = [] } = destination;
  if (madeImages.length === 0) return decision;
  const common = { kind: 'act', role: 'destination', pendingCleanup: decision.pendingCleanup } as const;
  if (decision.owner === 'destination' || startReported === true || operatorDecision !== undefined) {
    return { ...common, action: 'keep-images', why: `${decision.why}; it keeps the images made there` };
  }
  return {
    ...common,
    action: 'remove-images',
    why: `${decision.why}; the images made on the destination are not needed`,
  };
}
