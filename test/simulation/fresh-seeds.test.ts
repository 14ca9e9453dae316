import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { synthesize } from '../../cdk/synthesize.ts';
import { simulate } from '../../simulator/harness/batch.ts';
import { ALL_KINDS, menuOf } from '../../simulator/harness/fault-plan.ts';

const WORLDS = 150;
const MIGRATIONS = 8;
const HOSTS = 4;

/** Other worlds each time, where all other tests look at the same again. A seed that is found here can be run again by its number. */
it(`${WORLDS} worlds nobody has seen before keep their promises`, { timeout: 600_000 }, async () => {
  const first = randomInt(1, 1_000_000) * 1_000;
  console.log(
    `simulated worlds: ${WORLDS} from seed ${first}; again: npm run simulate -- --first ${first} --seeds ${WORLDS}`,
  );
  const { violations, migrations } = await simulate({
    assembly: await synthesize({ sharedPackages: true }),
    migrations: MIGRATIONS,
    hosts: HOSTS,
    evacuations: 1,
    menu: menuOf(ALL_KINDS),
    seeds: Array.from({ length: WORLDS }, (_, index) => first + index),
    goOn: () => true,
    after: () => {},
  });
  expect(violations, `npm run simulate -- --seed ${violations[0]?.seed}`).toEqual([]);
  expect(migrations).toBeGreaterThanOrEqual(WORLDS * MIGRATIONS);
});
