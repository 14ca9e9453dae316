import type { DomainSummary } from '../../contract/facts.ts';
import { slug } from '../../contract/names.ts';
import type { HostItem } from '../platform/control-table.ts';

export interface EvacuationPlan {
  /** Largest first: what is hardest to place is placed while there is most room. */
  moves: { vm: string; name: string; memoryMiB: number; candidates: string[] }[];
  /** Domains there is nothing to live-migrate of. */
  stays: { vm: string; why: string }[];
}

/** A VM no host took after so many tries is left for a person; each try costs a preflight on both hosts. */
export const MAX_CANDIDATES = 5;

/**
 * Spreads the VMs over the hosts that take VMs: every VM tries the host first that is least used by then, counted in
 * migrations under way and in memory promised and planned. `name` is the head of the child execution's name.
 */
export function planEvacuation(
  host: string,
  domains: readonly DomainSummary[],
  hosts: readonly HostItem[],
): EvacuationPlan {
  const takers = hosts
    .filter((candidate) => candidate.sk !== host && candidate.state === 'ACTIVE')
    .map((candidate) => ({
      hostId: candidate.sk,
      arriving: candidate.incoming?.size ?? 0,
      plannedMiB: Object.values(candidate.reservations).reduce((sum, mib) => sum + mib, 0),
    }));
  const moving = domains.filter(({ state }) => state === 'running').toSorted((a, b) => b.memoryMiB - a.memoryMiB);
  const moves = moving.map((domain) => {
    const task = takers.toSorted(
      (a, b) => a.plannedMiB - b.plannedMiB || a.arriving - b.arriving || a.hostId.localeCompare(b.hostId),
    );
    const first = task[0];
    if (first !== undefined) {
      first.plannedMiB += domain.memoryMiB;
      first.arriving += 1;
    }
    return {
      vm: domain.name,
      name: slug(domain.name),
      memoryMiB: domain.memoryMiB,
      candidates: task.slice(0, MAX_CANDIDATES).map(({ hostId }) => hostId),
    };
  });
  const stays = domains
    .filter(({ state }) => state !== 'running')
    .map(({ name, state }) => ({ vm: name, why: `is ${state}: only a running VM can be live-migrated` }));
  return { moves, stays };
}
