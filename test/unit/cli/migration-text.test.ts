import { describe, expect, it } from 'vitest';
import { copyLine, describeMigration } from '../../../cli/migration-text.ts';
import { MIB } from '../../../common/units.ts';
import type { MigrationView } from '../../../contract/api.ts';
import type { Progress } from '../../../contract/facts.ts';
import { Policy } from '../../../contract/policy.ts';

const progress = (more: Partial<Progress>): Progress => ({
  phase: 'copying',
  throttlePercent: 0,
  bytesTotal: 100 * MIB,
  bytesProcessed: 0,
  bytesRemaining: 100 * MIB,
  bytesPerSecond: 0,
  dirtyBytesPerSecond: 0,
  iteration: 1,
  elapsedMs: 0,
  ...more,
});

it('describes a copy in one line', () => {
  const line = copyLine(progress({ bytesProcessed: 75 * MIB, bytesRemaining: 25 * MIB, bytesPerSecond: 10 * MIB }));
  expect(line).toBe('[##################......] 75 %  75.0 MiB sent, 25.0 MiB left, 10.0 MiB/s, copying');
});

it('describes the copy of disks while no memory is copied yet', () => {
  const disks = { bytesTotal: 100 * MIB, bytesProcessed: 75 * MIB, bytesRemaining: 25 * MIB };
  const line = copyLine(progress({ phase: 'copying-disks', bytesTotal: 0, bytesRemaining: 0, disks }));
  expect(line).toBe('[##################......] 75 %  disks: 75.0 MiB copied, 25.0 MiB left');
  expect(copyLine(progress({ disks }))).toMatch(/ 0 % {2}0 KiB sent, 100.0 MiB left, 0 KiB\/s, copying$/);
});

describe('a migration as text', () => {
  const view = (more: Partial<MigrationView>): MigrationView => ({
    migrationId: 'web-1',
    vm: 'web',
    source: 'kvm1',
    destination: 'kvm2',
    policy: Policy.parse({}),
    status: 'SUCCEEDED',
    requestedAt: '2026-01-01T00:00:00.000Z',
    timeline: [],
    executionArn: 'arn:e',
    consoleUrl: 'https://console',
    ...more,
  });
  const lines = (more: Partial<MigrationView>) => describeMigration(view(more)).split('\n');

  it('names the images left on the source after migrated storage', () => {
    const imagesLeft = { host: 'kvm1', paths: ['/a/vda.qcow2', '/a/vdb.raw'] };
    expect(lines({ result: { totalMs: 4_400, imagesLeft } })).toContain(
      '  images      of migrated disks; left on kvm1, yours to delete: /a/vda.qcow2, /a/vdb.raw',
    );
  });

  it('shows where the VM is, what the move cost and its warning', () => {
    expect(
      lines({
        runsOn: 'kvm2',
        reason: 'fans',
        result: { totalMs: 4_400, downtimeMs: 84 },
        warning: { code: 'MoverGone', message: 'silent' },
        timeline: [{ at: 'T1', event: 'precopy succeeded', detail: { host: 'kvm1', result: { stage: 'precopy' } } }],
      }),
    ).toEqual([
      'web-1: web, kvm1 -> kvm2, SUCCEEDED',
      '  runs on     kvm2',
      '  requested   2026-01-01T00:00:00.000Z (fans)',
      '  took        4.4 s',
      "  downtime    84 ms (QEMU's figure)",
      '  warning     MoverGone: silent',
      '  T1  precopy succeeded (host kvm1)',
      '  console     https://console',
    ]);
  });

  it('shows the blackout each host measured, or why there is no measurement', () => {
    const source = {
      observed: true as const,
      address: '10.0.0.5',
      addressFrom: 'arp' as const,
      blackoutMs: 92.4,
      intervalMs: 10,
      elsewhereMs: 4,
      sent: 100,
      answered: 91,
      announcedAgain: false,
    };
    const seen = (blackout: NonNullable<MigrationView['result']>['blackout']) =>
      lines({ result: { totalMs: 4_400, ...(blackout && { blackout }) } }).filter((line) => line.includes('blackout'));
    expect(seen({ source, destination: { observed: false, why: 'no address' } })).toEqual([
      '  blackout    92 ms as seen from outside by kvm1 (asked every 10 ms)',
      '  blackout    not observed by kvm2: no address',
    ]);
    const again = { ...source, elsewhereMs: 60, blackoutMs: 2_400, announcedAgain: true };
    expect(seen({ destination: again })).toEqual([
      '  blackout    2.4 s as seen from outside by kvm2 (asked every 10 ms, gaps elsewhere of up to 60 ms); announced to the network again',
    ]);
    expect(seen(undefined)).toEqual([]);
  });

  it('shows failed checks once, and groups those with the same reason', () => {
    const missing = { passed: false, found: 'no VM "web"', remedy: 'start it' };
    const seen = lines({
      status: 'FAILED',
      failure: { code: 'PreflightFailed', message: 'all of them over again' },
      checks: [
        { role: 'source', name: 'domain-exists', ...missing },
        { role: 'source', name: 'devices', ...missing },
        { role: 'destination', name: 'cpu', passed: true, found: 'identical' },
        { role: 'destination', name: 'memory', ...missing },
      ],
    });
    expect(seen.slice(2, -1)).toEqual([
      '  failure     PreflightFailed; the VM was not touched',
      '  check       source: domain-exists, devices: no VM "web" (start it)',
      '  check       destination: memory: no VM "web" (start it)',
    ]);
  });

  it('shows the copy only while it runs', () => {
    const copying = { status: 'PRECOPY', progress: progress({}) } as const;
    expect(lines(copying).join('\n')).toContain('0 %');
    expect(lines({ ...copying, endedAt: 'T9' }).join('\n')).not.toContain('%');
  });
});
