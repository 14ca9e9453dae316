import type { OwnershipDecision } from '../../common/ownership/decide-ownership.ts';
import type { OwnershipEvidence } from '../../common/ownership/evidence.ts';

/**
 * What becomes of the images that a migration made on the destination for disks it copied along. Only once it is settled where the
 * VM is: left to the VM when that is on the destination, removed when it is not, and then settled.
 *
 * An image that the destination's guest may have written to is never removed: neither after the mover's report that it ran there,
 * nor by decision of an operator. It is left as an ordinary file, which the next preflight names.
 */
export function withImages(
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
