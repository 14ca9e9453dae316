import type { JsonObject } from '../../embedded-aws/core/service.ts';
import { libvirtError } from '../hypervisor/errors.ts';
import { pointOf } from './aws-faults.ts';
import type { Dish } from './fault-plan.ts';
import {
  altered,
  asItIsBelieved,
  asksForPendingCleanups,
  begunBeforeItsCommit,
  delegate,
  forgetDisks,
  goneAfterLostFinish,
  type Hooks,
  holdAlways,
  isCommitRecord,
  lockAlways,
  neverExpires,
  nothingFound,
  notOfPendingCleanups,
  revokeInNameOnly,
  sentByTheHostAsked,
  unreachableAsAbsent,
  updatesIn,
  wholeWhereItRuns,
  withDomains,
} from './mutation-hooks.ts';
import type { WorldOptions } from './world.ts';

/** A safety measure, switched off from outside: what a simulation that is worth anything finds out. */
export interface Mutation {
  name: string;
  /** What is done in its place. */
  off: string;
  /** The faults it is there for. */
  provoke: readonly Dish[];
  /** Where it matters what the worlds are like. */
  world?: Pick<WorldOptions, 'vms' | 'apartMs' | 'linkMiBps' | 'memoryMiB' | 'localDisks'>;
  /** What takes its place in one world. */
  in(): Hooks;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Somebody cancels while the commit is on its way. */
const CANCELLED_AT_COMMIT: Dish[] = [
  { kind: 'cancel', points: { 'mover:commit': 1 }, moment: 'before' },
  { kind: 'aws-delay', points: { commit: 1 }, ms: [5, 250], moment: 'before' },
];
/** A write of settle's that lands only after the function was given up and called again. */
const SLOW_SETTLE: Dish[] = [
  { kind: 'aws-delay', points: { settle: 8, unlock: 1 }, ms: [MINUTE / 2, 2 * MINUTE], moment: 'before' },
];

const POST_COPY_BREAKS: Dish = { kind: 'postcopy-broken', points: { 'daemon:finish': 1, 'daemon:rest': 3 } };
/** A host is away while a migration of its is settled, and comes back. */
const AWAY_FOR_A_WHILE: Dish[] = [
  { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1, 'mover:commit': 1 } },
  { kind: 'node-offline', points: { 'mover:finish': 1, 'mover:commit': 1, 'mover:job': 12 }, ms: [2 * MINUTE, HOUR] },
  { kind: 'partition', points: { 'mover:finish': 1, 'mover:commit': 1 }, ms: [2 * MINUTE, HOUR] },
];

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'commit',
    off: 'the mover goes on to Finish without a committed commit record',
    provoke: [],
    in: () => ({
      agent: { mailbox: (mailbox) => ({ ...mailbox, commit: async () => 'committed' }) },
    }),
  },
  {
    name: 'commit-condition',
    off: 'a revoked commit record can still be committed',
    provoke: CANCELLED_AT_COMMIT,
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'commit') holdAlways(call.input);
        return next();
      },
    }),
  },
  {
    name: 'commit-unknown',
    off: 'a commit whose answer is lost counts as made',
    provoke: [{ kind: 'partition', points: { 'mover:commit': 1, host: 20 }, ms: [500, 20_000] }],
    in: () => ({
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
    off: 'recovery believes that it has revoked the commit record, but has not',
    // Fenced in time, the mover could do no harm.
    provoke: [
      ...CANCELLED_AT_COMMIT,
      { kind: 'node-offline', points: { 'mover:commit': 1 }, ms: [MINUTE, HOUR], moment: 'before', choice: 0 },
    ],
    in: () => ({
      call: (call, next) => {
        if (['host', 'commit', 'settle'].includes(pointOf(call) ?? '')) return undefined;
        for (const write of [call.input, ...updatesIn(call.input)]) if (isCommitRecord(write)) revokeInNameOnly(write);
        if (isCommitRecord(call.input) && call.operation === 'GetItem') return next().then(asItIsBelieved);
        return undefined;
      },
    }),
  },
  {
    name: 'fence',
    off: 'the mover is not killed before recovery looks',
    provoke: [
      { kind: 'stream-delay', points: { stream: 20 }, ms: [MINUTE, 3 * MINUTE], moment: 'before' },
      { kind: 'aws-delay', points: { relay: 40 }, ms: [MINUTE, 3 * MINUTE], moment: 'before' },
      { kind: 'partition', points: { 'daemon:finish': 1 }, ms: [1_000, MINUTE] },
      // Of the source and AWS: it is asked as soon as that is over, and a long copy is still at work then.
      { kind: 'partition', points: { 'mover:perform': 1 }, ms: [MINUTE / 4, MINUTE], moment: 'before', choice: 0.5 },
    ],
    // A mover that is asked for is at work for long enough to be met.
    world: { linkMiBps: 60 },
    in: () => ({
      agent: { movers: (movers) => ({ ...delegate(movers), fence: async () => 'killed' }) },
    }),
  },
  {
    name: 'claim',
    off: 'an order is carried out as often as it is delivered',
    provoke: [{ kind: 'command-twice', points: { command: 6 }, ms: [1, MINUTE], moment: 'before' }],
    in: () => ({
      agent: {
        mailbox: (mailbox) => ({
          ...mailbox,
          claim: async (id) => (await mailbox.claim(id)) ?? { task: await mailbox.readTask(id) },
        }),
      },
    }),
  },
  {
    name: 'order-expiry',
    off: 'an order is begun however late it comes',
    provoke: [{ kind: 'command-late', points: { command: 6 }, ms: [MINUTE, HOUR], moment: 'before' }],
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'host' || call.operation !== 'UpdateItem') return undefined;
        return next().then(neverExpires);
      },
    }),
  },
  {
    name: 'evidence',
    off: 'a host that does not answer counts as one without the VM',
    provoke: [
      { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1, 'daemon:confirm': 1 } },
      { kind: 'node-offline', points: { 'mover:finish': 1, 'mover:commit': 1 }, ms: [MINUTE, HOUR] },
    ],
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'machine' || call.operation !== 'Invoke') return undefined;
        call.input.Payload = unreachableAsAbsent(String(call.input.Payload));
        return next();
      },
    }),
  },
  {
    name: 'look-after-finish',
    off: "when Finish's answer is lost, the destination counts as gone",
    provoke: [
      { kind: 'libvirtd-restarted', points: { 'daemon:finish': 1 } },
      { kind: 'partition', points: { 'daemon:finish': 1 }, ms: [MINUTE, HOUR] },
    ],
    in: () => ({
      agent: { connection: goneAfterLostFinish() },
    }),
  },
  {
    name: 'report-sender',
    off: 'a report counts from whichever host it comes',
    provoke: [
      { kind: 'forged-report', points: { command: 6 }, ms: [MINUTE, HOUR], moment: 'before', choice: 0.7 },
      { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1 } },
    ],
    in: () => ({ call: sentByTheHostAsked() }),
  },
  {
    name: 'lock-release',
    off: 'the lock is released whoever holds it',
    provoke: SLOW_SETTLE,
    world: { vms: 2 },
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'unlock') holdAlways(call.input);
        return next();
      },
    }),
  },
  {
    name: 'lock',
    off: 'a VM is locked although it is locked already',
    provoke: [],
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'admit') lockAlways(call);
        return next();
      },
    }),
  },
  {
    name: 'post-copy-commit',
    off: 'a post-copy begins before its commit',
    // The source and AWS.
    provoke: [{ kind: 'partition', points: { 'mover:commit': 1 }, ms: [5_000, MINUTE], moment: 'before', choice: 0.5 }],
    in: () => ({
      agent: { connection: withDomains(begunBeforeItsCommit) },
    }),
  },
  {
    name: 'post-copy-halves',
    off: 'a half of a VM that runs counts as the whole one',
    provoke: [POST_COPY_BREAKS, { kind: 'mover-killed', points: { 'daemon:rest': 3 } }],
    in: () => ({
      agent: { connection: withDomains(wholeWhereItRuns) },
    }),
  },
  {
    name: 'post-copy-resume',
    off: 'a post-copy that broke is not resumed',
    provoke: [POST_COPY_BREAKS],
    in: () => ({
      agent: {
        connection: (connection) =>
          altered(connection, {
            prepare: async (options) => {
              if (options.resume === true) throw libvirtError('not now');
              return connection.prepare(options);
            },
          }),
      },
    }),
  },
  {
    name: 'post-copy-version',
    off: 'a post-copy is resumed on a libvirt that ends from it',
    provoke: [POST_COPY_BREAKS],
    in: () => ({
      agent: {
        connection: (connection) =>
          altered(connection, { versions: async () => ({ ...(await connection.versions()), libvirt: 99_000_000 }) }),
      },
    }),
  },
  {
    name: 'follow-up',
    off: 'a flagged host is not followed up when it is back',
    provoke: AWAY_FOR_A_WHILE,
    in: () => ({
      call: (call, next) =>
        pointOf(call) === 'sweep' && asksForPendingCleanups(call) ? next().then(nothingFound) : undefined,
    }),
  },
  {
    name: 'follow-up-lock',
    off: "a follow-up takes the VM's lock although another migration holds it",
    provoke: [
      ...AWAY_FOR_A_WHILE,
      { kind: 'aws-delay', points: { 'resume-stopped-execution': 0.4 }, ms: [MINUTE / 6, MINUTE], moment: 'before' },
      { kind: 'aws-delay', points: { sweep: 2 }, ms: [MINUTE / 6, MINUTE], moment: 'before' },
    ],
    world: { vms: 1, apartMs: MINUTE },
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'resume-stopped-execution') lockAlways(call);
        return next();
      },
    }),
  },
  {
    name: 'flag-taken-away',
    off: 'the flag of an older migration stays when a newer one begins its copy',
    provoke: AWAY_FOR_A_WHILE,
    world: { vms: 2, apartMs: 2 * MINUTE },
    in: () => ({
      call: (call, next) => {
        const items = call.input.TransactItems as JsonObject[] | undefined;
        if (pointOf(call) === 'dispatch' && items !== undefined)
          call.input.TransactItems = items.filter(notOfPendingCleanups);
        return next();
      },
    }),
  },
  {
    name: 'slots',
    off: 'a migration is admitted although the slots of its hosts are taken',
    provoke: [{ kind: 'aws-delay', points: { admit: 4 }, ms: [1_000, MINUTE / 2], moment: 'before' }],
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'admit') for (const write of updatesIn(call.input)) holdAlways(write);
        return next();
      },
    }),
  },
  {
    name: 'turns',
    off: 'a VM switches although it is not its turn',
    provoke: [],
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'acquire-cutover-slot') for (const write of updatesIn(call.input)) holdAlways(write);
        return next();
      },
    }),
  },
  {
    name: 'memory',
    off: 'memory is promised from what somebody else may have been promised since',
    provoke: [{ kind: 'aws-delay', points: { 'reserve-memory': 2 }, ms: [500, 8_000], moment: 'before' }],
    world: { vms: 8, memoryMiB: 18_432, apartMs: 1_000 },
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'reserve-memory' && call.operation === 'UpdateItem') holdAlways(call.input);
        return next();
      },
    }),
  },
  {
    name: 'images-known',
    off: 'the record does not know of the images that are to be made',
    provoke: [{ kind: 'mover-killed', points: { 'mover:perform': 1, 'mover:commit': 1 }, moment: 'before' }],
    world: { localDisks: 1 },
    in: () => ({
      call: (call) => {
        if (pointOf(call) === 'dispatch') for (const write of updatesIn(call.input)) forgetDisks(write);
        return undefined;
      },
    }),
  },
  {
    name: 'images-awaited',
    off: 'recovery does not wait for images that are being made',
    provoke: [
      { kind: 'process-stalled', points: { 'agent:image': 8 }, ms: [MINUTE / 6, MINUTE] },
      { kind: 'cancel', points: { 'agent:image': 8 } },
    ],
    world: { localDisks: 1 },
    in: () => ({
      agent: { mailbox: (mailbox) => ({ ...mailbox, ended: async () => true }) },
    }),
  },
  {
    name: 'images-written-to',
    off: 'images that the guest has written to on the destination are removed when it has ended there',
    provoke: [
      { kind: 'qemu-killed', points: { 'mover:finish': 1, 'mover:confirm': 1 }, moment: 'after', choice: 0.9 },
      { kind: 'mover-killed', points: { 'daemon:confirm': 1, 'mover:confirm': 1 } },
    ],
    world: { localDisks: 1 },
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'machine' || call.operation !== 'Invoke') return undefined;
        call.input.Payload = String(call.input.Payload).replace('"keep-images"', '"remove-images"');
        return next();
      },
    }),
  },
  {
    name: 'first-outcome',
    off: 'a second outcome overwrites the first',
    provoke: SLOW_SETTLE,
    world: { vms: 2 },
    in: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'settle' && String(call.input.ConditionExpression).includes('endedAt')) {
          holdAlways(call.input);
        }
        return next();
      },
    }),
  },
];
