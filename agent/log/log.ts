import type { Clock } from '../../common/clock.ts';

export type LogLevel = 'info' | 'warn' | 'error';
/** `time`, `level` and `message` are the record's own. */
export type LogFields = Readonly<Record<string, unknown>> & { time?: never; level?: never; message?: never };

/** One line of the log. docs/logs.md lists the fields. */
export interface LogRecord {
  /** ISO 8601, UTC. */
  time: string;
  level: LogLevel;
  message: string;
  [field: string]: unknown;
}

/** What the agent and the mover do, for people who ask afterwards. No call throws or waits. */
export interface Log {
  info(message: string, fields?: LogFields): void;
  /** Something went wrong, and the migration does not depend on it. */
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log, with these fields in every record. */
  with(fields: LogFields): Log;
}

export function createLog(write: (record: LogRecord) => void, clock: Pick<Clock, 'now'>, common: LogFields = {}): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    try {
      write({ time: new Date(clock.now()).toISOString(), level, message, ...common, ...fields });
    } catch {
      // A record that cannot be written harms no migration.
    }
  };
  return {
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (fields) => createLog(write, clock, { ...common, ...fields }),
  };
}

const nothing = () => {};
export const silentLog: Log = { info: nothing, warn: nothing, error: nothing, with: () => silentLog };
