import { afterAll, beforeAll } from 'vitest';
import type { Clock } from '../../../common/clock.ts';
import { type ManagedLab, startManagedLab } from '../../../lab/managed-lab.ts';
import { describeWithLab } from './describe-with-lab.ts';

/** A group of tests with a lab of their own whose hosts are managed by an embedded AWS. `clock` is AWS's. */
export function describeWithManagedLab(
  name: string,
  tests: (managedLab: () => ManagedLab) => void,
  { clock }: { clock?: Clock } = {},
): void {
  describeWithLab(name, (lab) => {
    let managedLab: ManagedLab | undefined;
    beforeAll(async () => {
      managedLab = await startManagedLab(lab(), { ...(clock && { clock }) });
    });
    afterAll(() => managedLab?.stop());
    tests(() => {
      if (managedLab === undefined) throw new Error('the managed lab is only there inside of tests');
      return managedLab;
    });
  });
}
