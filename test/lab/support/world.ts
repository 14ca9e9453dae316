import { afterAll, beforeAll } from 'vitest';
import { startWorld, type World } from '../world.ts';
import { describeWithLab } from './lab.ts';

/** A group of tests with a lab of their own whose hosts are managed by an embedded AWS. */
export function describeWithWorld(
  name: string,
  options: { name: string; subnet: string },
  tests: (world: () => World) => void,
): void {
  describeWithLab(name, options, (lab) => {
    let world: World | undefined;
    beforeAll(async () => {
      world = await startWorld(lab());
    });
    afterAll(() => world?.stop());
    tests(() => {
      if (world === undefined) throw new Error('the world is only there inside of tests');
      return world;
    });
  });
}
