import { expect, it } from 'vitest';
import { synthesize } from '../../cdk/synthesize.ts';
import { simulate } from '../../simulator/harness/batch.ts';
import { ALL_KINDS, catalogOf } from '../../simulator/harness/fault-catalog.ts';

const FIRST = 1;
const WORLDS = 150;
const MIGRATIONS = 8;

/** The seeds are fixed, so that a failure is caused by the change that is tested. `npm run simulate` draws fresh seeds. */
it(`all invariants hold in ${WORLDS} worlds with faults of all kinds`, { timeout: 600_000 }, async () => {
  const { violations, migrations, faults } = await simulate({
    assembly: await synthesize({ sharedPackages: true }),
    migrations: MIGRATIONS,
    hosts: 4,
    evacuations: 1,
    catalog: catalogOf(ALL_KINDS),
    seeds: Array.from({ length: WORLDS }, (_, index) => FIRST + index),
    shouldContinue: () => true,
    onResult: () => {},
  });
  expect(violations, `npm run simulate -- --seed ${violations[0]?.seed}`).toEqual([]);
  expect(migrations).toBeGreaterThanOrEqual(WORLDS * MIGRATIONS);
  expect(Object.keys(faults).toSorted()).toEqual(ALL_KINDS.toSorted());
});
