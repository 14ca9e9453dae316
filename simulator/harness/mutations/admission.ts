import { pointOf } from '../aws-faults.ts';
import { holdAlways, takeLockAlways, updatesIn } from './aws-rewrites.ts';
import { MINUTE, type Mutation } from './mutation.ts';

/** A migration is admitted only with its lock, its slots and its memory. */
export const ADMISSION_MUTATIONS: readonly Mutation[] = [
  {
    name: 'lock',
    off: 'a VM is locked although another migration holds its lock',
    catalog: [],
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'admit') takeLockAlways(call);
        return next();
      },
    }),
  },
  {
    name: 'slots',
    off: 'a migration is admitted although the slots of its hosts are taken',
    catalog: [{ kind: 'aws-delay', points: { admit: 4 }, ms: [1_000, MINUTE / 2], moment: 'before' }],
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'admit') for (const write of updatesIn(call.input)) holdAlways(write);
        return next();
      },
    }),
  },
  {
    name: 'cutover-slots',
    off: 'a VM cuts over without a cutover slot',
    catalog: [],
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'acquire-cutover-slot') for (const write of updatesIn(call.input)) holdAlways(write);
        return next();
      },
    }),
  },
  {
    name: 'memory',
    off: 'memory is promised that another migration may have been promised meanwhile',
    catalog: [{ kind: 'aws-delay', points: { 'reserve-memory': 2 }, ms: [500, 8_000], moment: 'before' }],
    world: { vms: 8, memoryMiB: 18_432, apartMs: 1_000 },
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'reserve-memory' && call.operation === 'UpdateItem') holdAlways(call.input);
        return next();
      },
    }),
  },
];
