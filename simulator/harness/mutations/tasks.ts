import { pointOf } from '../aws-faults.ts';
import { boundMethods } from './agent-overrides.ts';
import { acceptAnySender, neverExpires } from './aws-rewrites.ts';
import { HOUR, MINUTE, type Mutation } from './mutation.ts';

/** A task runs once, in time, and its result comes from the host that was given it. */
export const TASKS_MUTATIONS: readonly Mutation[] = [
  {
    name: 'fence',
    off: 'the mover is not killed before recovery inspects the hosts',
    catalog: [
      { kind: 'stream-delay', points: { stream: 20 }, ms: [MINUTE, 3 * MINUTE], moment: 'before' },
      { kind: 'aws-delay', points: { relay: 40 }, ms: [MINUTE, 3 * MINUTE], moment: 'before' },
      { kind: 'partition', points: { 'daemon:finish': 1 }, ms: [1_000, MINUTE] },
      // Between the source and AWS. The source is inspected when this ends, and a long copy still runs then.
      { kind: 'partition', points: { 'mover:perform': 1 }, ms: [MINUTE / 4, MINUTE], moment: 'before', choice: 0.5 },
    ],
    // Slow enough that the mover still runs when the source is inspected.
    world: { linkMiBps: 60 },
    overrides: () => ({
      agent: { movers: (movers) => ({ ...boundMethods(movers), fence: async () => 'killed' }) },
    }),
  },
  {
    name: 'claim',
    off: 'a task runs as often as it is delivered',
    catalog: [{ kind: 'command-twice', points: { command: 6 }, ms: [1, MINUTE], moment: 'before' }],
    overrides: () => ({
      agent: {
        mailbox: (mailbox) => ({
          ...mailbox,
          claim: async (id) => (await mailbox.claim(id)) ?? { task: await mailbox.readTask(id) },
        }),
      },
    }),
  },
  {
    name: 'task-expiry',
    off: 'a task starts however late it is delivered',
    catalog: [{ kind: 'command-late', points: { command: 6 }, ms: [MINUTE, HOUR], moment: 'before' }],
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'host' || call.operation !== 'UpdateItem') return undefined;
        return next().then(neverExpires);
      },
    }),
  },
  {
    name: 'report-sender',
    off: 'a report is accepted from any host',
    catalog: [
      { kind: 'forged-report', points: { command: 6 }, ms: [MINUTE, HOUR], moment: 'before', choice: 0.7 },
      { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1 } },
    ],
    overrides: () => ({ call: acceptAnySender() }),
  },
];
