import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ObserverProcesses } from '../../../../agent/observe/process.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'handoff-run-'));
});
afterEach(() => rm(directory, { recursive: true }));

const task = { migrationId: 'web01-5f2c', requestId: 'web01-5f2c.observe-guest.destination.1' };
const observers = (command: string[]) =>
  new ObserverProcesses({ runDirectory: directory, launcher: 'spawn', command, env: process.env });
const logOf = () => readFile(join(directory, 'web01-5f2c.observe.log'), 'utf8');

it('an observer outlives its SSM command in a session of its own, and its log is kept', async () => {
  const script = join(directory, 'agent.sh');
  // Fields 5 and 6: process group and session. SSM kills the process group of its command.
  await writeFile(script, 'echo "$@"; cut -d" " -f1,5,6 /proc/$$/stat\n');
  await observers(['/bin/sh', script]).start(task);
  await expect.poll(logOf).toMatch(/^observe web01-5f2c\.observe-guest\.destination\.1\n(\d+) \1 \1\n$/);
});

it('an observer that cannot be started is a failure of its task', async () => {
  await expect(observers(['/nonexistent/agent']).start(task)).rejects.toThrow('ENOENT');
});
