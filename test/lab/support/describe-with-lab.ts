import { afterAll, beforeAll, describe } from 'vitest';
import { downLab, type Lab, upLab } from '../../../lab/hosts/lab.ts';
import type { LabOptions } from '../../../lab/hosts/plan.ts';
import { labSupport } from '../../../lab/hosts/support.ts';

const support = labSupport();

/**
 * A group of tests with a lab of their own, up before the first and down after the last. Where no lab can run the group is
 * passed over, with the reason in its name; but never in continuous integration, where it then fails.
 */
export function describeWithLab(
  name: string,
  options: Required<Pick<LabOptions, 'name' | 'subnet'>> & LabOptions,
  tests: (lab: () => Lab) => void,
): void {
  const group = describe.skipIf(!support.able && process.env.CI === undefined);
  group(support.able ? name : `${name} (no lab: ${support.reason})`, () => {
    let lab: Lab | undefined;
    beforeAll(async () => {
      lab = await upLab(options);
    });
    afterAll(() => downLab(options.name));
    tests(() => {
      if (lab === undefined) throw new Error('the lab is only there inside of tests');
      return lab;
    });
  });
}
