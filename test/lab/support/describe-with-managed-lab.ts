import { afterAll, beforeAll } from 'vitest';
import type { Clock } from '../../../common/clock.ts';
import { startWorld, type World } from '../../../lab/managed-lab.ts';
import { describeWithLab } from './describe-with-lab.ts';

/** A group of tests with a lab of their own whose hosts are managed by an embedded AWS. */
export function describeWithWorld(
  name: string,
  { clock, ...options }: { name: string; subnet: string; clock?: Clock },
  tests: (world: () => World) => void,
): void {
  describeWithLab(name, options, (lab) => {
    let world: World | undefined;
    beforeAll(async () => {
      world = await startWorld(lab(), { ...(clock && { clock }) });
    });
    afterAll(() => world?.stop());
    tests(() => {
      if (world === undefined) throw new Error('the world is only there inside of tests');
      return world;
    });
  });
}
