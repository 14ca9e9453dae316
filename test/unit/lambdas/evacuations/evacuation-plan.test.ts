import { describe, expect, it } from 'vitest';
import type { DomainSummary } from '../../../../contract/facts.ts';
import { MAX_CANDIDATES, planEvacuation } from '../../../../lambdas/evacuations/evacuation-plan.ts';
import type { HostItem } from '../../../../lambdas/platform/control-table.ts';

const host = (sk: string, more: Partial<HostItem> = {}): HostItem => ({
  pk: 'HOSTS',
  sk,
  nodeId: 'mi-0123456789abcdef0',
  address: sk,
  libvirtUri: `qemu+tcp://${sk}/system`,
  limits: { outgoing: 2, incoming: 2, cutovers: 1 },
  state: 'ACTIVE',
  queue: {},
  reservations: {},
  reservationVersion: 0,
  ...more,
});
const vm = (name: string, memoryMiB: number, state: DomainSummary['state'] = 'running'): DomainSummary => ({
  name,
  uuid: `uuid-${name}`,
  state,
  memoryMiB,
});

describe('evacuation plan', () => {
  it('spreads the VMs, largest first', () => {
    const plan = planEvacuation(
      'a',
      [vm('small', 1), vm('big', 8), vm('middle', 4)],
      [host('a'), host('b'), host('c')],
    );
    expect(plan.moves.map(({ vm, candidates }) => [vm, candidates[0]])).toEqual([
      ['big', 'b'],
      ['middle', 'c'],
      ['small', 'c'],
    ]);
  });

  it('offers every other host that takes VMs, and never the host itself or a cordoned one', () => {
    const hosts = [
      host('a'),
      host('b', { state: 'CORDONED' }),
      host('c', { state: 'IN_MAINTENANCE' }),
      host('d'),
      host('e'),
    ];
    expect(planEvacuation('a', [vm('x', 1)], hosts).moves[0]?.candidates).toEqual(['d', 'e']);
  });

  it('counts memory promised already', () => {
    const hosts = [host('a'), host('b', { reservations: { other: 4096 } }), host('c')];
    expect(planEvacuation('a', [vm('x', 1)], hosts).moves[0]?.candidates).toEqual(['c', 'b']);
  });

  it('tries a bounded number of hosts', () => {
    const hosts = Array.from({ length: 50 }, (_, i) => host(`h${i}`));
    expect(planEvacuation('a', [vm('x', 1)], hosts).moves[0]?.candidates).toHaveLength(MAX_CANDIDATES);
  });

  it('leaves alone what does not run, and says so', () => {
    const plan = planEvacuation('a', [vm('off', 1, 'shutoff'), vm('frozen', 1, 'paused')], [host('b')]);
    expect(plan.moves).toEqual([]);
    expect(plan.stays).toEqual([
      { vm: 'off', why: 'is shutoff: only a running VM can be live-migrated' },
      { vm: 'frozen', why: 'is paused: only a running VM can be live-migrated' },
    ]);
  });
});
