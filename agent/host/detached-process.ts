import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Environment } from '../environment.ts';

export interface DetachedProcessOptions extends Pick<Environment, 'runDirectory' | 'launcher'> {
  /** The command line that starts this agent, without its arguments. */
  command: readonly string[];
  env: Record<string, string | undefined>;
}

/**
 * Starts the agent once more, as a process that outlives the SSM command that started it: SSM kills the process group of a command,
 * and runs only a few commands at a time on one host. `name` is the systemd unit's, or the log file's in the run directory where
 * systemd does not run. Returns where the process writes its log, in words for a person.
 */
export async function startDetached(
  { runDirectory, launcher, command, env }: DetachedProcessOptions,
  args: readonly string[],
  name: { unit: string; log: string },
): Promise<string> {
  await mkdir(runDirectory, { recursive: true, mode: 0o700 });
  const line = [...command, ...args];
  if ((launcher ?? (existsSync('/run/systemd/system') ? 'systemd' : 'spawn')) === 'systemd') {
    await startUnit(name.unit, line, env);
    return `journalctl -u ${name.unit}`;
  }
  const log = join(runDirectory, name.log);
  await startSession(line, log, env);
  return log;
}

/** Two units of one name cannot run at once. */
async function startUnit(unit: string, line: readonly string[], env: DetachedProcessOptions['env']): Promise<void> {
  const passed = Object.entries(env).filter(([name]) => /^(HANDOFF|AWS|NODE)_|^(HOME|PATH)$/.test(name));
  const settings = passed.map(([name, value]) => `--setenv=${name}=${value}`);
  await promisify(execFile)('systemd-run', [`--unit=${unit}`, '--collect', '--quiet', ...settings, '--', ...line]);
}

async function startSession(
  [program, ...args]: readonly string[],
  logPath: string,
  env: DetachedProcessOptions['env'],
): Promise<void> {
  const log = await open(logPath, 'a', 0o600);
  try {
    const child = spawn(program!, args, {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      cwd: '/',
      env: env as NodeJS.ProcessEnv,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
  } finally {
    await log.close();
  }
}
