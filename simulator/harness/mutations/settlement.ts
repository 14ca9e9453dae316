import { pointOf } from '../aws-faults.ts';
import type { FaultSpec } from '../fault-catalog.ts';
import { holdAlways } from './aws-rewrites.ts';
import { MINUTE, type Mutation } from './mutation.ts';

/** A write of Settle takes effect only after the function timed out and was called again. */
const SLOW_SETTLE: FaultSpec[] = [
  { kind: 'aws-delay', points: { settle: 8, unlock: 1 }, ms: [MINUTE / 2, 2 * MINUTE], moment: 'before' },
];

/** The first outcome of a migration is final. */
export const SETTLEMENT_MUTATIONS: readonly Mutation[] = [
  {
    name: 'lock-release',
    off: 'the lock is released although another migration holds it',
    catalog: SLOW_SETTLE,
    world: { vms: 2 },
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'unlock') holdAlways(call.input);
        return next();
      },
    }),
  },
  {
    name: 'first-outcome',
    off: 'a second outcome overwrites the first',
    catalog: SLOW_SETTLE,
    world: { vms: 2 },
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'settle' && String(call.input.ConditionExpression).includes('endedAt')) {
          holdAlways(call.input);
        }
        return next();
      },
    }),
  },
];
