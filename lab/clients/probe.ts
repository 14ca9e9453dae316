import { spawn } from 'node:child_process';
import type { Lab } from '../hosts/lab.ts';
import { enter, environment } from '../hosts/node.ts';
import type { NodeName } from '../hosts/plan.ts';

/** A measuring program running on a node of the lab. */
export interface Probe {
  /** Sends it the signal it ends on, and returns all it wrote. */
  stop(): Promise<string>;
}

/** Starts a program on the client, or another node; resolves when what it writes matches `ready`, rejects when it ends before or in 10 s. */
export async function startProbe(
  lab: Lab,
  argv: readonly string[],
  { ready, signal, node = 'client' }: { ready: RegExp; signal: NodeJS.Signals; node?: NodeName },
): Promise<Probe> {
  const [program, ...args] = enter(lab, node, argv) as [string, ...string[]];
  const child = spawn(program, args, { env: environment(), detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  // To the process group, since the program is a child of nsenter.
  const send = (which: NodeJS.Signals) => {
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, which);
  };
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      send('SIGKILL');
      reject(new Error(`"${argv.join(' ')}" was not ready within 10 s: ${output}${errors}`));
    }, 10_000);
    child.once('error', reject);
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      if (ready.test(output)) {
        clearTimeout(timer);
        resolve();
      }
    });
    void closed.then(() => {
      clearTimeout(timer);
      reject(new Error(`"${argv.join(' ')}" ended: ${output}${errors}`));
    });
  });
  return {
    stop: async () => {
      send(signal);
      await closed;
      return output;
    },
  };
}
