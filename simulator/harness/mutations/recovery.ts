import type { JsonObject } from '../../../embedded-aws/core/service.ts';
import { pointOf } from '../aws-faults.ts';
import type { FaultSpec } from '../fault-catalog.ts';
import { goneAfterLostFinish } from './agent-overrides.ts';
import {
  deletesNoCleanup,
  queriesCleanups,
  takeLockAlways,
  unreachableCountsAsAbsent,
  withoutItems,
} from './aws-rewrites.ts';
import { HOUR, MINUTE, type Mutation } from './mutation.ts';

/** A host is unreachable while one of its migrations is settled, and comes back. */
const HOST_AWAY: FaultSpec[] = [
  { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1, 'mover:commit': 1 } },
  { kind: 'node-offline', points: { 'mover:finish': 1, 'mover:commit': 1, 'mover:job': 12 }, ms: [2 * MINUTE, HOUR] },
  { kind: 'partition', points: { 'mover:finish': 1, 'mover:commit': 1 }, ms: [2 * MINUTE, HOUR] },
];

/** Recovery decides from evidence of both hosts, and cleans up on each when it is reachable. */
export const RECOVERY_MUTATIONS: readonly Mutation[] = [
  {
    name: 'evidence',
    off: 'a host that does not answer counts as one without the VM',
    catalog: [
      { kind: 'mover-killed', points: { 'daemon:finish': 1, 'mover:finish': 1, 'daemon:confirm': 1 } },
      { kind: 'node-offline', points: { 'mover:finish': 1, 'mover:commit': 1 }, ms: [MINUTE, HOUR] },
    ],
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) !== 'machine' || call.operation !== 'Invoke') return undefined;
        call.input.Payload = unreachableCountsAsAbsent(String(call.input.Payload));
        return next();
      },
    }),
  },
  {
    name: 'inspect-after-finish',
    off: "when Finish's answer is lost, the destination counts as gone",
    catalog: [
      { kind: 'libvirtd-restarted', points: { 'daemon:finish': 1 } },
      { kind: 'partition', points: { 'daemon:finish': 1 }, ms: [MINUTE, HOUR] },
    ],
    overrides: () => ({
      agent: { connection: goneAfterLostFinish() },
    }),
  },
  {
    name: 'cleanup',
    off: 'a pending cleanup is not carried out when its host is back',
    catalog: HOST_AWAY,
    overrides: () => ({
      call: (call, next) =>
        pointOf(call) === 'sweep' && queriesCleanups(call) ? next().then(withoutItems) : undefined,
    }),
  },
  {
    name: 'cleanup-lock',
    off: "a cleanup takes the VM's lock although another migration holds it",
    catalog: [
      ...HOST_AWAY,
      { kind: 'aws-delay', points: { 'resume-stopped-execution': 0.4 }, ms: [MINUTE / 6, MINUTE], moment: 'before' },
      { kind: 'aws-delay', points: { sweep: 2 }, ms: [MINUTE / 6, MINUTE], moment: 'before' },
    ],
    world: { vms: 1, apartMs: MINUTE },
    overrides: () => ({
      call: (call, next) => {
        if (pointOf(call) === 'resume-stopped-execution') takeLockAlways(call);
        return next();
      },
    }),
  },
  {
    name: 'stale-cleanup',
    off: 'the pending cleanup of an older migration stays when a newer one begins its copy',
    catalog: HOST_AWAY,
    world: { vms: 2, apartMs: 2 * MINUTE },
    overrides: () => ({
      call: (call, next) => {
        const items = call.input.TransactItems as JsonObject[] | undefined;
        if (pointOf(call) === 'dispatch' && items !== undefined)
          call.input.TransactItems = items.filter(deletesNoCleanup);
        return next();
      },
    }),
  },
];
