import { join } from 'node:path';
import { GUEST_PORT } from '../guest/guests.ts';
import type { Lab } from '../hosts/lab.ts';
import { startProbe } from './probe.ts';

/** How long the user waits between an answer and the next request. */
const PAUSE_MS = 10;

/**
 * A user who asks, waits for the answer, and asks again, over one connection from the client. Resolves once the guest has
 * answered the first; `stop` returns when each answer came, in ms since the epoch.
 */
export async function startRequests(lab: Lab, address: string): Promise<{ stop(): Promise<number[]> }> {
  const program = join(import.meta.dirname, 'request-client.ts');
  const command = [process.execPath, program, address, `${GUEST_PORT}`, `${PAUSE_MS}`];
  const probe = await startProbe(lab, command, { ready: /^ready$/m, signal: 'SIGTERM' });
  return {
    stop: async () => {
      const output = await probe.stop();
      const answers = output.split('\n').find((line) => line.startsWith('['));
      if (answers === undefined) throw new Error(`the client printed no result: ${output}`);
      return JSON.parse(answers) as number[];
    },
  };
}
