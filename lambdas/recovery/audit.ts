import type { AuditFinding } from '../../contract/api.ts';

/** One thing that is held, and by whom. */
export type Held = Pick<AuditFinding, 'of' | 'owner'> & {
  resource: Exclude<AuditFinding['resource'], 'pending cleanup'>;
};

/** What is known of who holds it: a migration by its record, an evacuation by its execution. */
export type Owner =
  | { state: 'at work' }
  /** `at` in ms since the epoch. A migration that needs an operator keeps its VM's lock, and nothing else. */
  | { state: 'ended'; at: number; how: string; needsOperator?: boolean }
  | { state: 'unknown' };

/** Who has just ended may still be giving back. */
export const SETTLING_MS = 2 * 60_000;

export type Leak = Held & { why: string; proven: boolean };

/**
 * Compares what is held with who holds it. Proven are leaks whose owner has ended: it never comes back, and giving back in its
 * name changes nothing else. Of an owner nobody knows it is only said.
 */
export function findLeaks(held: readonly Held[], owners: ReadonlyMap<string, Owner>, now: number): Leak[] {
  return held.flatMap((thing): Leak[] => {
    const owner = owners.get(thing.owner) ?? { state: 'unknown' };
    if (owner.state === 'at work') return [];
    if (owner.state === 'unknown') return [{ ...thing, why: 'its owner is not known', proven: false }];
    if (now - owner.at < SETTLING_MS || (owner.needsOperator && thing.resource === 'lock')) return [];
    return [{ ...thing, why: `its owner ended ${owner.how} at ${new Date(owner.at).toISOString()}`, proven: true }];
  });
}
