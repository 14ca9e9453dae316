import { describe, expect, it } from 'vitest';
import type { HostItem } from '../../../../lambdas/platform/control-table.ts';

process.env.CONTROL_TABLE ??= 'control';
process.env.MAILBOX_TABLE ??= 'mailbox';
process.env.HOST_ROLE_ID ??= 'AROAHOST';
const { admission, QUEUE_POSITION_LASTS_MS } = await import('../../../../lambdas/migrations/admission.ts');

const NOW = 1_000_000;
const host = (sk: string, more: Partial<HostItem> = {}): HostItem => ({
  pk: 'HOSTS',
  sk,
  nodeId: 'mi-0123456789abcdef0',
  address: '10.0.0.1',
  libvirtUri: 'qemu+tcp://10.0.0.1/system',
  limits: { outgoing: 2, incoming: 1, cutovers: 1 },
  state: 'ACTIVE',
  queue: {},
  reservations: {},
  reservationVersion: 0,
  ...more,
});
const ask = (source: Partial<HostItem>, destination: Partial<HostItem>, id = 'me') =>
  admission(host('a', source), host('b', destination), id, NOW);

describe('admission', () => {
  it('admits while both hosts have a slot', () => {
    expect(ask({ outgoing: new Set(['x']) }, {})).toEqual({ admit: true });
  });

  it('says which host is full', () => {
    expect(ask({}, { incoming: new Set(['x']) })).toMatchObject({
      admit: false,
      because: 'b has 1 of 1 incoming slots taken',
    });
    expect(ask({ outgoing: new Set(['x', 'y']) }, {})).toMatchObject({ because: 'a has 2 of 2 outgoing slots taken' });
  });

  it('admits again whom it has admitted, however full the host is', () => {
    expect(ask({ outgoing: new Set(['me', 'x', 'y']) }, { incoming: new Set(['me', 'x']) })).toEqual({ admit: true });
  });

  it('lets go first who has waited longest', () => {
    const queue = { early: { since: NOW - 500, seen: NOW - 10 }, me: { since: NOW - 100, seen: NOW - 10 } };
    expect(ask({}, { queue })).toMatchObject({ admit: false, because: expect.stringContaining('1 waiting before') });
    expect(ask({}, { queue }, 'early')).toEqual({ admit: true });
  });

  it('orders those who came in the same moment by their ids, so that never two wait for each other', () => {
    const queue = { me: { since: NOW, seen: NOW }, other: { since: NOW, seen: NOW } };
    expect(ask({}, { queue }, 'me')).toEqual({ admit: true });
    expect(ask({}, { queue }, 'other')).toMatchObject({ admit: false });
  });

  it('forgets who has not asked for a while', () => {
    const queue = { gone: { since: NOW - 900_000, seen: NOW - QUEUE_POSITION_LASTS_MS - 1 } };
    expect(ask({}, { queue })).toEqual({ admit: true });
  });
});
