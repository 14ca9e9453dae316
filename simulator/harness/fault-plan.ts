/**
 * What goes wrong in a simulated world, decided up front: at the n-th time something happens, this happens too. So a run can be
 * repeated, and repeated with fewer faults.
 */
export interface Fault {
  kind: FaultKind;
  /** What is counted, such as `dispatch` (an AWS call by that function), `mover:finish` or `command`. */
  point: string;
  /** From 1. */
  nth: number;
  /** Once it has taken effect, rather than before. */
  after: boolean;
  /** How long it lasts, in ms; undefined where that means nothing, or for good. */
  ms?: number;
  /** In [0, 1): chooses between the forms a kind has. */
  choice: number;
}

export const FAULT_KINDS = {
  'aws-error': 'a call to AWS fails and has no effect',
  'aws-answer-lost': 'a call to AWS takes effect, but its answer is lost',
  'aws-delay': 'a call to AWS, or its answer, takes up to a minute and a half',
  'aws-throttled': 'calls to AWS are throttled for up to half a minute',
  'function-crash': 'a function is never heard of again after a call that took effect',
  'stream-delay': 'reports reach their function late',
  'stream-duplicate': 'reports reach their function twice',
  'command-lost': 'a command is taken by its host and never begins',
  'command-twice': 'a command begins twice, the second time up to an hour later',
  'command-late': 'a command begins up to an hour late',
  'node-offline': "a host's SSM agent is not connected",
  'agent-killed': 'an agent process is killed between any two steps',
  'mover-killed': 'a mover is killed between any two steps',
  'process-stalled': 'an agent or a mover stands still for up to three minutes between any two steps',
  'libvirtd-restarted': "a host's libvirt daemon is restarted",
  'qemu-killed': "a VM's QEMU, or a copy of it, is killed",
  'postcopy-broken': 'the stream of a post-copy breaks',
  'host-crashed': 'a host loses power: its VMs, movers and agents are gone, and it is away for a while or for good',
  partition: 'AWS, the source and the destination: two of them do not reach each other, for a while or for good',
  cancel: 'a person cancels a migration',
  'forged-report': 'a host lies for a while: it reports on what its peers are asked',
  'execution-stopped': 'a person stops an execution',
} as const;
export type FaultKind = keyof typeof FAULT_KINDS;

export const ALL_KINDS = Object.keys(FAULT_KINDS) as FaultKind[];

/** How often the points come up in one migration, roughly. */
const FUNCTION_CALLS = {
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
  // Of disks that are copied along, which few VMs here have.
  'agent:image': 3,
  'agent:rest': 0.5,
};
/** At the daemon: the call has come, or is done and not answered yet. */
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

/** What may be drawn: faults of one kind, with the points at which they may strike and how often those come up. */
export interface Dish {
  kind: FaultKind;
  points: Readonly<Record<string, number>>;
  /** Least and most, in ms; drawn evenly over the orders of magnitude between them. */
  ms?: readonly [number, number];
  /** How often it is for good instead. */
  forGood?: number;
  /** Kinds that make sense on one side of what they strike only. */
  moment?: 'before' | 'after';
  /** In place of one that is drawn. */
  choice?: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const SHAPES: Record<FaultKind, Omit<Dish, 'kind'>> = {
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
  'node-offline': { points: MOVER_STEPS, ms: [1_000, HOUR], forGood: 0.1 },
  'agent-killed': { points: AGENT_STEPS },
  'mover-killed': { points: { ...MOVER_STEPS, ...DAEMON_STEPS } },
  'process-stalled': { points: { ...MOVER_STEPS, ...AGENT_STEPS }, ms: [100, 3 * MINUTE] },
  'libvirtd-restarted': { points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS } },
  'qemu-killed': { points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS } },
  // Where none is under way nothing happens.
  'postcopy-broken': { points: { 'daemon:startPostCopy': 0.2, 'daemon:finish': 1, 'daemon:rest': 3 } },
  'host-crashed': {
    points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS },
    ms: [1_000, HOUR],
    forGood: 0.2,
  },
  partition: {
    points: { ...MOVER_STEPS, ...DAEMON_STEPS, ...AGENT_STEPS, ...HOST_CALLS },
    ms: [100, HOUR],
    forGood: 0.1,
  },
  cancel: { points: { ...MACHINE_CALLS, ...MOVER_STEPS } },
  'forged-report': { moment: 'before', points: COMMANDS, ms: [1_000, HOUR] },
  'execution-stopped': { points: MACHINE_CALLS },
};

/** Kinds that last, for good unless said otherwise. */
export const LASTING: readonly FaultKind[] = ALL_KINDS.filter((kind) => SHAPES[kind].forGood !== undefined);

export const menuOf = (kinds: readonly FaultKind[]): Dish[] => kinds.map((kind) => ({ kind, ...SHAPES[kind] }));

/** Draws the faults of one world. */
export function planFaults(random: () => number, menu: readonly Dish[], migrations: number): Fault[] {
  if (menu.length === 0) return [];
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const count = 1 + Math.floor(random() * migrations * 1.5);
  return Array.from({ length: count }, () => {
    const { kind, points, ms, forGood = 0, moment, choice } = one(menu);
    const [point, times] = one(Object.entries(points));
    // Later ones might never come.
    const most = Math.max(1, Math.ceil(times * migrations * 0.7));
    const fault: Fault = {
      kind,
      point,
      nth: 1 + Math.floor(random() * most),
      after: moment === undefined ? random() < 0.5 : moment === 'after',
      choice: choice ?? Math.round(random() * 1_000) / 1_000,
    };
    const lasts = random() >= forGood;
    const length = random();
    if (ms !== undefined && lasts) fault.ms = Math.round(ms[0] * (ms[1] / ms[0]) ** length);
    return fault;
  });
}

/** Counts what happens, and says which faults are due. */
export class Schedule {
  readonly #before = new Map<string, Due>();
  readonly #after = new Map<string, Due>();

  constructor(plan: readonly Fault[]) {
    for (const fault of plan) {
      const points = fault.after ? this.#after : this.#before;
      const due = points.get(fault.point) ?? { faults: [], count: 0 };
      due.faults.push(fault);
      points.set(fault.point, due);
    }
  }

  get isEmpty(): boolean {
    return this.#before.size === 0 && this.#after.size === 0;
  }

  next(point: string, after: boolean): readonly Fault[] {
    const due = (after ? this.#after : this.#before).get(point);
    if (due === undefined) return NONE;
    due.count += 1;
    return due.faults.filter(({ nth }) => nth === due.count);
  }
}

interface Due {
  faults: Fault[];
  /** How often the point came up so far. */
  count: number;
}
const NONE: readonly Fault[] = [];
