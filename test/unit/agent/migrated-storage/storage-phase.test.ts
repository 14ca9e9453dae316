import { expect, it } from 'vitest';
import type { Domain, JobStats } from '../../../../agent/hypervisor.ts';
import { Copy } from '../../../../agent/mover/copy.ts';
import { MIB } from '../../../../common/units.ts';
import { Policy } from '../../../../contract/policy.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const stats = (change: Partial<JobStats>): JobStats => ({
  operation: 'migration-out',
  elapsedMs: 0,
  bytesTotal: 0,
  bytesProcessed: 0,
  bytesRemaining: 0,
  bytesPerSecond: 0,
  dirtyBytesPerSecond: 0,
  iteration: 0,
  ...change,
});

it('copies disks without a brake, with the limits set before memory may flow, and then brakes as ever', async () => {
  const clock = new VirtualClock();
  const begun = clock.now();
  const at = () => clock.now() - begun;
  const settings: string[] = [];
  const phases: string[] = [];
  let held: number | undefined;
  // Disks for 2 s; from then on 400 MiB of memory, all of it passed after another 2 s, if nobody brakes.
  const job = (): JobStats => {
    const disks = { bytesTotal: 1_000, bytesProcessed: 0, bytesRemaining: Math.max(0, 1_000 - at() / 2) };
    if (at() < 2_000) return stats({ elapsedMs: at(), disks });
    const braked = settings.findIndex((setting) => setting.endsWith('speed 1'));
    const until = braked === -1 ? at() : Number(settings[braked]!.split(' ')[0]);
    const bytesRemaining = Math.max(0, 400 - (until - 2_000) / 5) * MIB - (at() - until);
    return stats({
      elapsedMs: at(),
      disks,
      bytesTotal: 400 * MIB,
      bytesRemaining,
      bytesPerSecond: 200 * MIB,
      iteration: 1,
    });
  };
  const source = {
    job: async () => job(),
    setMaxSpeedMiBps: async (mibps: number) => void settings.push(`${at()} speed ${mibps}`),
    setMaxDowntimeMs: async (ms: number) => void settings.push(`${at()} downtime ${ms}`),
  } as unknown as Domain;
  const copy = new Copy({
    source,
    clock,
    policy: Policy.parse({ migrateStorage: true }),
    plan: { method: 'plain', postCopyAllowed: false, connections: 1 },
    readCommitRecord: async () => 'OPEN',
    onProgress: (phase, seen) => {
      if (phases.at(-1) !== phase) phases.push(phase);
      if (phase === 'copying-disks') expect(seen?.disks?.bytesTotal).toBe(1_000);
    },
    onHeld: ({ bytesRemaining }) => {
      held = bytesRemaining;
    },
    announceMs: 0,
    onApproaching: () => {},
    onDecision: () => {},
    startPostCopy: async () => {},
  });
  void copy.drive();
  await clock.advance(2_000 - 1);
  expect(settings).toEqual(['0 speed 0', '0 downtime 1']);
  expect(phases).toEqual(['copying-disks']);
  await clock.advance(4_000);
  expect(phases).toEqual(['copying-disks', 'copying', 'held']);
  expect(settings.slice(2).map((setting) => setting.replace(/^\d+ /, ''))).toEqual(['speed 1']);
  expect(held).toBeGreaterThan(64 * MIB);
  copy.stop();
  await clock.runUntilIdle();
});
