import { join } from 'node:path';
import { GUEST_PORT } from '../guest/guests.ts';
import type { Lab } from '../hosts/lab.ts';
import { startProbe } from './probe.ts';
import type { TcpResult } from './tcp-client.ts';

/**
 * Keeps one TCP connection to a guest open from the client, with a request every 10 ms unless told otherwise. Resolves
 * once the guest has answered the first.
 */
export async function startTcp(
  lab: Lab,
  address: string,
  { intervalMs = 10 }: { intervalMs?: number } = {},
): Promise<{ stop(): Promise<TcpResult> }> {
  const program = join(import.meta.dirname, 'tcp-client.ts');
  const command = [process.execPath, program, address, `${GUEST_PORT}`, `${intervalMs}`];
  const probe = await startProbe(lab, command, { ready: /^ready$/m, signal: 'SIGTERM' });
  return {
    stop: async () => {
      const output = await probe.stop();
      const result = output.split('\n').find((line) => line.startsWith('{'));
      if (result === undefined) throw new Error(`the TCP client printed no result: ${output}`);
      return JSON.parse(result) as TcpResult;
    },
  };
}
