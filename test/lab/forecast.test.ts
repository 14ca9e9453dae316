/** What is measured of real guests before a move, what is forecast from it, and that forecasting moves nothing. */

import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MIB } from '../../common/units.ts';
import type { MigrationView } from '../../contract/api.ts';
import { migrate } from '../../lab/clients/migrations.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { destroyGuest, type GuestStatus, guestStatus, setDirtyRate, startGuest } from '../../lab/guest/guests.ts';
import { MigrationLink } from '../../lab/hosts/migration-link.ts';
import { until } from '../../lab/hosts/until.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

const LINK_MIBPS = 100;
const guest = { name: 'fc-a', memoryMiB: 512, workingSetMiB: 200, dirtyMiBps: 0 };
const way = { vm: guest.name, from: 'kvm1', to: 'kvm2' } as const;

describeWithManagedLab('before a move', (managed) => {
  let address: string;
  beforeAll(async () => {
    address = guestAddress(managed().lab);
    const link = await MigrationLink.between(managed().lab, 'kvm1', 'kvm2');
    await link.limit(LINK_MIBPS);
  });
  afterEach(() => destroyGuest(managed().lab, guest.name));

  /** A guest that has done what it does at its start, which is to write all of its working set, and writes at this rate. */
  async function ready(rate: number): Promise<GuestStatus> {
    await startGuest(managed().lab, 'kvm1', { ...guest, address });
    await until('the guest has its working set', async () => (await guestStatus(address)).checkedBytes > 0);
    await setDirtyRate(address, rate);
    return guestStatus(address);
  }

  const forecastOf = (policy = {}): Promise<MigrationView> =>
    migrate(managed(), { ...way, policy, forecastOnly: true });

  describe('a forecast', () => {
    // A rate is told by samples, half a page for each MiB, so a slow one is told roughly; and the machine may be busy.
    it.each([
      { rate: 0, least: 0, most: 5 },
      { rate: 20, least: 6, most: 45 },
      { rate: 150, least: 90, most: 230 },
    ])('measures a guest that writes $rate MiB/s, and the link', async ({ rate, least, most }) => {
      const before = await ready(rate);
      // One that can't converge by itself is allowed to go over by post-copy.
      const view = await forecastOf({ onNonConvergence: 'postcopy' });

      expect(view).toMatchObject({ status: 'FORECASTED', forecastOnly: true });
      expect(view.checks?.filter(({ passed }) => !passed)).toEqual([]);
      const { measured, forecast } = view;
      const mib = (bytes = Number.NaN) => bytes / MIB;
      expect(mib(measured?.dirtyBytesPerSecond)).toBeGreaterThanOrEqual(least);
      expect(mib(measured?.dirtyBytesPerSecond)).toBeLessThanOrEqual(most);
      expect(measured?.linkSource).toBe('measured');
      expect(mib(measured?.linkBytesPerSecond)).toBeGreaterThan(LINK_MIBPS * 0.7);
      expect(mib(measured?.linkBytesPerSecond)).toBeLessThan(LINK_MIBPS * 1.1);
      expect(mib(measured?.memoryBytes)).toBe(512);
      // The working set, the kernel and what it keeps, but not QEMU itself.
      expect(mib(measured?.residentBytes)).toBeGreaterThan(200);
      expect(mib(measured?.residentBytes)).toBeLessThan(400);
      expect(measured?.workingSetBytes).toBeLessThanOrEqual(measured?.residentBytes ?? 0);
      expect(measured?.cpuUse).toBeGreaterThan(0);
      expect(measured?.cpuUse).toBeLessThan(1);
      expect(forecast?.plan.method).toBe(rate === 150 ? 'post-copy' : 'plain');
      expect(forecast?.convergence).toBe(rate === 150 ? 'only-slowed' : 'likely');

      // Nothing moved, and the guest wrote on meanwhile.
      expect(await stateOn(managed().lab, 'kvm1', guest.name)).toBe('running (booted)');
      expect(await stateOn(managed().lab, 'kvm2', guest.name)).toBeUndefined();
      const after = await guestStatus(address);
      expect(after).toMatchObject({ bootId: before.bootId, patternErrors: 0, diskErrors: 0 });
      const written = (after.dirtiedBytes - before.dirtiedBytes) / MIB / ((after.uptimeMs - before.uptimeMs) / 1_000);
      expect(written).toBeGreaterThanOrEqual(rate * 0.7);
    });

    it('says what would be refused, and what would do', async () => {
      await ready(150);
      const view = await forecastOf({ autoConverge: false });
      expect(view.status).toBe('FORECASTED');
      const refused = view.checks?.filter(({ passed }) => !passed);
      expect(refused).toMatchObject([{ name: 'policy', role: 'source' }]);
      expect(refused?.[0]?.remedy).toContain('onNonConvergence: postcopy');
    });
  });

  it('a move that cannot keep its policy is refused before its first byte', async () => {
    await ready(150);
    const view = await migrate(managed(), { ...way, policy: { autoConverge: false } });
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PolicyNotMet' } });
    expect(view.timeline.map(({ event }) => event)).not.toContain('precopy task sent');
    expect(await stateOn(managed().lab, 'kvm1', guest.name)).toBe('running (booted)');
  });

  it('a move is held against its forecast afterwards', async () => {
    await ready(20);
    const view = await migrate(managed(), way);
    expect(view).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm2' });
    expect(view.result?.activeMs).toBeGreaterThan(0);
    const calibration = await managed().api.call('GET', '/calibration');
    expect(calibration).toMatchObject({ migrations: 1, time: { observed: 1 }, byMethod: { plain: { migrations: 1 } } });
  });
});
