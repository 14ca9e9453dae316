import { afterAll, beforeAll, describe } from 'vitest';
import { downLab, type Lab, upLab } from '../../../lab/hosts/lab.ts';
import { labSupport } from '../../../lab/hosts/support.ts';

const support = labSupport();

/**
 * A group of tests with a lab of their own, up before the first and down after the last; other groups may have theirs at the same
 * time. Where no lab can run the group is skipped, with the reason in its name; but never in continuous integration, where it fails.
 */
export function describeWithLab(name: string, tests: (lab: () => Lab) => void): void {
  const group = describe.skipIf(!support.able && process.env.CI === undefined);
  group(support.able ? name : `${name} (no lab: ${support.reason})`, () => {
    let lab: Lab | undefined;
    beforeAll(async () => {
      lab = await upLab();
    });
    afterAll(async () => {
      if (lab !== undefined) await downLab(lab.name);
    });
    tests(() => {
      if (lab === undefined) throw new Error('the lab is only there inside of tests');
      return lab;
    });
  });
}

/** The address of one of a lab's guests, from its last number: 101 to 254. */
export const guestAddress = ({ subnet }: Pick<Lab, 'subnet'>, last = 101): string => `${subnet}.${last}`;
