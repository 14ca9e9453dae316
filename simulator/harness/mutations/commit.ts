import { pointOf } from '../aws-faults.ts';
import type { FaultSpec } from '../fault-catalog.ts';
import { holdAlways, isCommitRecord, pretendRevoked, showRevoked, updatesIn } from './aws-rewrites.ts';
import { HOUR, MINUTE, type Mutation } from './mutation.ts';

/** An operator cancels while the commit is under way. */
const CANCELLED_AT_COMMIT: FaultSpec[] = [
  { kind: 'cancel', points: { 'mover:commit': 1 }, moment: 'before' },
  { kind: 'aws-delay', points: { commit: 1 }, ms: [5, 250], moment: 'before' },
];

/** The commit decides who owns the VM. */
export const COMMIT_MUTATIONS: readonly Mutation[] = [
  {
    name: 'commit',
    off: 'the mover calls Finish without a committed commit record',
    catalog: [],
    overrides: () => ({
      agent: { mailbox: (mailbox) => ({ ...mailbox, commit: async () => 'committed' }) },
    }),
  },
  {
    name: 'commit-condition',
    off: 'a revoked commit record can still be committed',
    catalog: CANCELLED_AT_COMMIT,
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'commit') holdAlways(call.input);
        return next();
      },
    }),
  },
  {
    name: 'commit-unknown',
    off: 'a commit whose answer is lost counts as committed',
    catalog: [{ kind: 'partition', points: { 'mover:commit': 1, host: 20 }, ms: [500, 20_000] }],
    overrides: () => ({
      agent: {
        mailbox: (mailbox) => ({
          ...mailbox,
          commit: async (...to) => {
            const outcome = await mailbox.commit(...to);
            return outcome === 'unknown' ? 'committed' : outcome;
          },
        }),
      },
    }),
  },
  {
    name: 'revoke',
    off: 'recovery takes the commit record for revoked, although it is not',
    // A mover that is fenced in time does no harm.
    catalog: [
      ...CANCELLED_AT_COMMIT,
      { kind: 'node-offline', points: { 'mover:commit': 1 }, ms: [MINUTE, HOUR], moment: 'before', choice: 0 },
    ],
    overrides: () => ({
      call: (call, next) => {
        if (['host', 'commit', 'settle'].includes(pointOf(call) ?? '')) return undefined;
        for (const write of [call.input, ...updatesIn(call.input)]) if (isCommitRecord(write)) pretendRevoked(write);
        if (isCommitRecord(call.input) && call.operation === 'GetItem') return next().then(showRevoked);
        return undefined;
      },
    }),
  },
];
