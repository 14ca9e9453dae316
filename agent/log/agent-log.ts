import { write } from 'node:fs';
import { promisify } from 'node:util';
import { type Clock, within } from '../../common/clock.ts';
import type { Environment } from '../environment.ts';
import { LineWriter } from './line-writer.ts';
import { createLog, type Log } from './log.ts';
import { appendTo } from './log-file.ts';

/** At the end of the process: far more than a write takes, and no reason to stay when the disk hangs. */
const FLUSH_PATIENCE_MS = 1_000;
const STDERR = 2;

export interface AgentLog {
  log: Log;
  /** To be awaited before the process exits. Takes a second at most. */
  flush(): Promise<void>;
}

/**
 * The log of a real host: JSON lines to stderr (systemd's journal keeps those of a mover that it runs, SSM those of its commands)
 * and to a file. Neither is written by the event loop's own thread, and neither is waited for: Node writes to process.stderr
 * synchronously, and a journal that does not read would stop the mover.
 */
export function openAgentLog({ logFile, logMaxBytes, hostId }: Environment, clock: Clock): AgentLog {
  const writers = [
    new LineWriter((text) => promisify(write)(STDERR, text)),
    new LineWriter(appendTo(logFile, logMaxBytes)),
  ];
  const log = createLog(
    (record) => {
      const line = JSON.stringify(record);
      for (const writer of writers) writer.push(line);
    },
    clock,
    { pid: process.pid, ...(hostId !== undefined && { hostId }) },
  );
  return {
    log,
    async flush() {
      await within(clock, FLUSH_PATIENCE_MS, Promise.all(writers.map((writer) => writer.written())), () => {});
    },
  };
}
