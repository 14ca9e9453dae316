import type { Clock } from '../../common/clock.ts';
import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import type { Domain } from '../hypervisor.ts';

/** As long as the guest's memory is measured. */
const PERIOD_MS = 1_000;

/** What the guest writes to these disks, in bytes per second. */
export async function measureDiskWrites(
  { clock }: { clock: Clock },
  domain: Pick<Domain, 'diskSizes'>,
  disks: readonly MigratedDisk[],
): Promise<number> {
  const written = async () =>
    (await domain.diskSizes())
      .filter(({ target }) => disks.some((disk) => disk.target === target))
      .reduce((sum, { writtenBytes }) => sum + writtenBytes, 0);
  const before = { at: clock.now(), bytes: await written() };
  await clock.sleep(PERIOD_MS);
  const bytes = (await written()) - before.bytes;
  return Math.max(0, Math.round((bytes * 1_000) / (clock.now() - before.at)));
}
