import { pointOf } from '../aws-faults.ts';
import { forgetDisks, updatesIn } from './aws-rewrites.ts';
import { MINUTE, type Mutation } from './mutation.ts';

/** Images of migrated storage are neither lost nor left over. */
export const IMAGES_MUTATIONS: readonly Mutation[] = [
  {
    name: 'images-known',
    off: 'the record does not name the images that are to be created',
    catalog: [{ kind: 'mover-killed', points: { 'mover:perform': 1, 'mover:commit': 1 }, moment: 'before' }],
    world: { localDisks: 1 },
    overrides: () => ({
      call: (call) => {
        if (pointOf(call) === 'dispatch') for (const write of updatesIn(call.input)) forgetDisks(write);
        return undefined;
      },
    }),
  },
  {
    name: 'images-awaited',
    off: 'recovery does not wait for images that are being created',
    catalog: [
      { kind: 'process-stalled', points: { 'agent:image': 8 }, ms: [MINUTE / 6, MINUTE] },
      { kind: 'cancel', points: { 'agent:image': 8 } },
    ],
    world: { localDisks: 1 },
    overrides: () => ({
      agent: { mailbox: (mailbox) => ({ ...mailbox, ended: async () => true }) },
    }),
  },
  {
    name: 'images-written-to',
    off: 'images that the guest wrote to on the destination are removed when the guest has ended there',
    catalog: [
      { kind: 'qemu-killed', points: { 'mover:finish': 1, 'mover:confirm': 1 }, moment: 'after', choice: 0.9 },
      { kind: 'mover-killed', points: { 'daemon:confirm': 1, 'mover:confirm': 1 } },
    ],
    world: { localDisks: 1 },
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'machine' || call.operation !== 'Invoke') return undefined;
        call.input.Payload = String(call.input.Payload).replace('"keep-images"', '"remove-images"');
        return next();
      },
    }),
  },
];
