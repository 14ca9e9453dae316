import type { AuditFinding } from '../../contract/api.ts';

/** One resource that is held, and its owner. */
export type Held = Pick<AuditFinding, 'of' | 'owner'> & {
  resource: Exclude<AuditFinding['resource'], 'pending cleanup'>;
};

/** What is known of an owner: of a migration by its record, of an evacuation by its execution. */
export type Owner =
  | { state: 'at work' }
  /** `at` in ms since the epoch. A migration that needs an operator keeps its VM's lock, and nothing else. */
  | { state: 'ended'; at: number; how: string; needsOperator?: boolean }
  | { state: 'unknown' };

/** An owner that has just ended may still release what it holds. */
export const SETTLING_MS = 2 * 60_000;

export type Leak = Held & { why: string; proven: boolean };

/**
 * Compares what is held with its owners. A leak is proven when its owner has ended: the owner never comes back, and a release in its
 * name changes nothing else. What an unknown owner holds is only reported.
 */
export function findLeaks(held: readonly Held[], owners: ReadonlyMap<string, Owner>, now: number): Leak[] {
  return held.flatMap((one): Leak[] => {
    const owner = owners.get(one.owner) ?? { state: 'unknown' };
    if (owner.state === 'at work') return [];
    if (owner.state === 'unknown') return [{ ...one, why: 'its owner is not known', proven: false }];
    if (now - owner.at < SETTLING_MS || (owner.needsOperator && one.resource === 'lock')) return [];
    return [{ ...one, why: `its owner ended ${owner.how} at ${new Date(owner.at).toISOString()}`, proven: true }];
  });
}
