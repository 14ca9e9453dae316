import type { AwsPoint } from './aws-faults.ts';

export const FAULT_KINDS = {
  'aws-error': 'a call to AWS fails and has no effect',
  'aws-answer-lost': 'a call to AWS takes effect, but its answer is lost',
  'aws-delay': 'a call to AWS, or its answer, takes up to a minute and a half',
  'aws-throttled': 'calls to AWS are throttled for up to half a minute',
  'function-crash': 'a function stops without an answer after a call that took effect',
  'stream-delay': 'reports reach their function late',
  'stream-duplicate': 'reports reach their function twice',
  'command-lost': 'a host receives a command and never begins it',
  'command-twice': 'a command begins twice, the second time up to an hour later',
  'command-late': 'a command begins up to an hour late',
  'node-offline': "a host's SSM agent is not connected",
  'agent-killed': 'an agent or an observer is killed between any two steps',
  'mover-killed': 'a mover is killed between any two steps',
  'process-stalled': 'an agent, an observer or a mover is suspended for up to three minutes between any two steps',
  'libvirtd-restarted': "a host's libvirt daemon is restarted",
  'qemu-killed': "a VM's QEMU, or a copy of it, is killed",
  'postcopy-broken': 'the stream of a post-copy breaks',
  'host-crashed': 'a host loses power: its VMs, movers and agents end, and it is off for a while or permanently',
  partition: 'two of AWS, the source and the destination do not reach each other, for a while or permanently',
  cancel: 'a person cancels a migration',
  'forged-report': 'for a while a host forges the results of tasks that its peers were given',
  'execution-stopped': 'a person stops an execution',
} as const;
export type FaultKind = keyof typeof FAULT_KINDS;

export const ALL_KINDS = Object.keys(FAULT_KINDS) as FaultKind[];

/** Calls of AWS at each point in one migration, roughly (test/simulation/fault-points.test.ts). */
const FUNCTION_CALLS: Partial<Record<AwsPoint, number>> = {
  admit: 4,
  dispatch: 48,
  'reserve-memory': 2,
  relay: 40,
  'decide-ownership': 1,
  'acquire-cutover-slot': 6,
  settle: 8,
  unlock: 1,
  'on-command-ended': 0.5,
};
const HOST_CALLS = { host: 26, commit: 1 };
const MACHINE_CALLS = { machine: 10, revoke: 0.3 };
const MOVER_STEPS = {
  'mover:connect': 2,
  'mover:begin': 1,
  'mover:prepare': 1,
  'mover:perform': 1,
  'mover:startPostCopy': 0.2,
  'mover:rest': 3,
  'mover:finish': 1,
  'mover:confirm': 1,
  'mover:commit': 1,
  'mover:job': 12,
  'mover:find': 5,
  'mover:report': 12,
  'mover:readCommitRecord': 2,
};
const AGENT_STEPS = {
  'agent:readTask': 1,
  'agent:claim': 6,
  'agent:connect': 6,
  'agent:find': 20,
  'agent:report': 6,
  'agent:resume': 0.2,
  'agent:destroy': 0.2,
  // Only with migrated storage, which few VMs here have.
  'agent:image': 3,
  'agent:rest': 0.5,
};
/** It looks at the VM ten times a second. */
const OBSERVER_STEPS = { 'observer:connect': 1, 'observer:find': 100, 'observer:readTask': 0.2, 'observer:report': 1 };
/** At the daemon: before it carries a call out, or after it has and before it answers. */
const DAEMON_STEPS = {
  'daemon:begin': 1,
  'daemon:prepare': 1,
  'daemon:perform': 1,
  'daemon:startPostCopy': 0.2,
  'daemon:rest': 3,
  'daemon:finish': 1,
  'daemon:confirm': 1,
};
const AWS_CALLS = { ...FUNCTION_CALLS, ...HOST_CALLS, ...MACHINE_CALLS };
const COMMANDS = { command: 6 };

/** What faults can be injected at: a call of AWS, a command of SSM, or a step of a mover, an agent or a daemon. */
export type Point = AwsPoint | 'command' | `${'mover' | 'agent' | 'daemon'}:${string}`;

/** Faults of one kind that a plan may draw, with the points at which they can be injected and how often a migration reaches those. */
export interface FaultSpec {
  kind: FaultKind;
  points: Readonly<Partial<Record<Point, number>>>;
  /** Least and most, in ms; drawn evenly over the orders of magnitude between them. */
  ms?: readonly [number, number];
  /** The share of these faults that never ends, in [0, 1]. */
  permanent?: number;
  /** For kinds that make sense only before, or only after, the call at the point. */
  moment?: 'before' | 'after';
  /** Replaces the choice that would be drawn. */
  choice?: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const SPECS: Record<FaultKind, Omit<FaultSpec, 'kind'>> = {
  'aws-error': { moment: 'before', points: AWS_CALLS },
  'aws-answer-lost': { moment: 'after', points: AWS_CALLS },
  'aws-delay': { points: AWS_CALLS, ms: [50, 1.5 * MINUTE] },
  'aws-throttled': { moment: 'before', points: AWS_CALLS, ms: [1_000, MINUTE / 2] },
  'function-crash': { moment: 'after', points: FUNCTION_CALLS },
  'stream-delay': { moment: 'before', points: { stream: 20 }, ms: [100, 3 * MINUTE] },
  'stream-duplicate': { moment: 'before', points: { stream: 20 }, ms: [1, MINUTE] },
  'command-lost': { moment: 'before', points: COMMANDS },
  'command-twice': { moment: 'before', points: COMMANDS, ms: [1, HOUR] },
  'command-late': { moment: 'before', points: COMMANDS, ms: [1_000, HOUR] },
  'node-offline': { points: MOVER_STEPS, ms: [1_000, HOUR], permanent: 0.1 },
  'agent-killed': { points: { ...AGENT_STEPS, ...OBSERVER_STEPS } },
  'mover-killed': { points: { ...MOVER_STEPS, ...DAEMON_STEPS } },
  'process-stalled': { points: { ...MOVER_STEPS, ...AGENT_STEPS, ...OBSERVER_STEPS }, ms: [100, 3 * MINUTE] },
  'libvirtd-restarted': { points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS, ...OBSERVER_STEPS } },
  'qemu-killed': { points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS, ...OBSERVER_STEPS } },
  // Has no effect when no post-copy is under way.
  'postcopy-broken': { points: { 'daemon:startPostCopy': 0.2, 'daemon:finish': 1, 'daemon:rest': 3 } },
  'host-crashed': {
    points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS, ...OBSERVER_STEPS },
    ms: [1_000, HOUR],
    permanent: 0.2,
  },
  partition: {
    points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS, ...OBSERVER_STEPS, ...HOST_CALLS },
    ms: [100, HOUR],
    permanent: 0.1,
  },
  cancel: { points: { ...MACHINE_CALLS, ...MOVER_STEPS } },
  'forged-report': { moment: 'before', points: COMMANDS, ms: [1_000, HOUR] },
  'execution-stopped': { points: MACHINE_CALLS },
};

/** Kinds that are permanent when they have no duration. */
export const LASTING_KINDS: readonly FaultKind[] = ALL_KINDS.filter((kind) => SPECS[kind].permanent !== undefined);

/** What a plan of these kinds may draw. */
export const catalogOf = (kinds: readonly FaultKind[]): FaultSpec[] => kinds.map((kind) => ({ kind, ...SPECS[kind] }));
