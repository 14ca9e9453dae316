import { describe, expect, it } from 'vitest';
import { parseEvents } from '../../../../lab/clients/domain-events.ts';

describe("libvirt's events", () => {
  const output = `ready
2026-01-23 09:46:42.233+0000: event 'migration-iteration' for domain 'web': iteration: '1'
2026-01-23 09:46:42.300+0000: event 'lifecycle' for domain 'other': Stopped Destroyed
2026-01-23 09:46:46.890+0000: event 'lifecycle' for domain 'web': Suspended Migrated
2026-01-23 09:46:47.371+0000: event 'job-completed' for domain 'web':
\toperation: 5
\tdowntime: 252
\tdowntime_net: 250
event loop interrupted
events received: 4
`;
  it('are those of one guest, with their time and detail', () => {
    const events = parseEvents(output, 'web');
    expect(events.map(({ kind }) => kind)).toEqual(['migration-iteration', 'lifecycle', 'job-completed']);
    expect(events[1]).toEqual({
      at: Date.UTC(2026, 0, 23, 9, 46, 46, 890),
      kind: 'lifecycle',
      what: 'Suspended Migrated',
    });
    expect(events[2]?.what).toMatch(/^\s*downtime: 252$/m);
  });
});
