import type { Clock } from '../../../common/clock.ts';
import type { JsonObject } from '../../core/service.ts';

/** Step Functions' hard limit; the last event says that the limit ended the execution. */
export const MAX_EVENTS = 25_000;

/** A line of events: each one names the one before it on its own line, as Parallel branches and Map iterations interleave. */
export interface Trail {
  lastEventId: number;
}

/** One execution's events, as GetExecutionHistory gives them. Times are seconds since the epoch. */
export class History {
  readonly events: JsonObject[] = [];
  readonly #clock: Clock;
  readonly #full: () => void;

  /** `full` is called once no more than the last event fits. */
  constructor(clock: Clock, full: () => void) {
    this.#clock = clock;
    this.#full = full;
  }

  /** `details` holds the event type's one details member, such as `{ taskFailedEventDetails: ... }`. */
  add(trail: Trail, type: string, details?: JsonObject): void {
    if (this.events.length < MAX_EVENTS - 1) this.#append(trail, type, details);
    else this.#full();
  }

  /** The execution's last event, for which there is always room. */
  end(trail: Trail, type: string, details?: JsonObject): void {
    this.#append(trail, type, details);
  }

  #append(trail: Trail, type: string, details?: JsonObject): void {
    const id = this.events.length + 1;
    const timestamp = this.#clock.now() / 1_000;
    this.events.push({ timestamp, type, id, previousEventId: trail.lastEventId, ...details });
    trail.lastEventId = id;
  }
}

const EXECUTION_DATA = [
  'input',
  'inputDetails',
  'output',
  'outputDetails',
  'assignedVariables',
  'assignedVariablesDetails',
];

/** The event without what went in and out of states (`includeExecutionData: false`). */
export function withoutExecutionData(event: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(event).map(([member, value]) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return [member, value];
      return [member, Object.fromEntries(Object.entries(value).filter(([field]) => !EXECUTION_DATA.includes(field)))];
    }),
  );
}

/** Error and cause as event details have them: only where there are any. */
export function errorDetails({ error, cause }: { error: string | undefined; cause: string | undefined }): JsonObject {
  return { ...(error !== undefined && { error }), ...(cause !== undefined && { cause }) };
}

export const COMPLETE = { truncated: false };
