import type { FaultKind, FaultSpec } from './fault-catalog.ts';

/**
 * A fault of a simulated world, planned before the world starts: it is injected when its point is reached for the n-th time. So a run
 * can be repeated, also with fewer faults.
 */
export interface Fault {
  kind: FaultKind;
  /** What is counted, such as `dispatch` (an AWS call by that function), `mover:finish` or `command`. */
  point: string;
  /** From 1. */
  nth: number;
  /** Injected after the point's call has taken effect, not before it. */
  after: boolean;
  /** How long it lasts, in ms; undefined for a permanent fault, and for a kind that has no duration. */
  ms?: number;
  /** In [0, 1): selects one of the forms that the kind has, such as the host. */
  choice: number;
}

/** Draws the faults of one world. */
export function planFaults(random: () => number, catalog: readonly FaultSpec[], migrations: number): Fault[] {
  if (catalog.length === 0) return [];
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const count = 1 + Math.floor(random() * migrations * 1.5);
  return Array.from({ length: count }, () => {
    const { kind, points, ms, permanent = 0, moment, choice } = one(catalog);
    const [point, times] = one(Object.entries(points));
    // Later ones might never come.
    const most = Math.max(1, Math.ceil(times! * migrations * 0.7));
    const fault: Fault = {
      kind,
      point,
      nth: 1 + Math.floor(random() * most),
      after: moment === undefined ? random() < 0.5 : moment === 'after',
      choice: choice ?? Math.round(random() * 1_000) / 1_000,
    };
    const lasts = random() >= permanent;
    const length = random();
    if (ms !== undefined && lasts) fault.ms = Math.round(ms[0] * (ms[1] / ms[0]) ** length);
    return fault;
  });
}

/** Counts how often each point is reached, and returns the faults that are due. */
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
  /** How often the point was reached so far. */
  count: number;
}
const NONE: readonly Fault[] = [];
