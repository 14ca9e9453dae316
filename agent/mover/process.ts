import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../../common/clock.ts';
import type { Movers } from '../deps.ts';
import type { Environment } from '../environment.ts';
import { eventually } from '../eventually.ts';
import { askMover, listenForControl } from './control-socket.ts';
import type { Mover } from './mover.ts';
import { livingProcess, removePidFile, writePidFile } from './pid-file.ts';

/** A mover answers within a second; a loaded host gets more. */
const START = { everyMs: 50, limitMs: 15_000 };
/** SIGKILL takes effect at once, unless the process is stuck in the kernel (dead NFS); then nothing is proven. */
const DEATH = { everyMs: 20, limitMs: 30_000 };

export interface MoverProcessOptions extends Pick<Environment, 'runDirectory' | 'launcher'> {
  clock: Clock;
  /** The command line that starts this agent, without its arguments. */
  command: readonly string[];
  env: Record<string, string | undefined>;
}

const pathsOf = (runDirectory: string, migrationId: string) => ({
  socket: join(runDirectory, `${migrationId}.sock`),
  pid: join(runDirectory, `${migrationId}.pid`),
  log: join(runDirectory, `${migrationId}.log`),
});

/** Movers as processes of their own. SSM kills the process group of a command; a mover is in none of them. */
export class MoverProcesses implements Movers {
  readonly #options: MoverProcessOptions;

  constructor(options: MoverProcessOptions) {
    this.#options = options;
  }

  async start({ migrationId, requestId }: { migrationId: string; requestId: string }): Promise<void> {
    const { runDirectory, clock, command } = this.#options;
    await mkdir(runDirectory, { recursive: true, mode: 0o700 });
    const { socket, log } = pathsOf(runDirectory, migrationId);
    const line = [...command, 'mover', requestId];
    const launcher = this.#options.launcher ?? (existsSync('/run/systemd/system') ? 'systemd' : 'spawn');
    if (launcher === 'systemd') await this.#startUnit(`handoff-${migrationId}`, line);
    else await this.#startDetached(line, log);
    const answers = await eventually(
      { clock },
      START,
      async () => (await askMover(socket, { command: 'status' })) !== undefined,
    );
    if (!answers) {
      const where = launcher === 'systemd' ? `journalctl -u handoff-${migrationId}` : log;
      throw new Error(`the mover of ${migrationId} did not come up within ${START.limitMs / 1_000} s; see ${where}`);
    }
  }

  async cutover(migrationId: string, requestId: string): Promise<boolean> {
    const { socket } = pathsOf(this.#options.runDirectory, migrationId);
    const answer = await askMover(socket, { command: 'cutover', requestId });
    if (answer?.ok === false) throw new Error(`the mover of ${migrationId} refused the cutover: ${answer.error}`);
    return answer !== undefined;
  }

  /** Rejects when the mover could not be proven dead. */
  async fence(migrationId: string): Promise<'none' | 'killed'> {
    const { pid } = pathsOf(this.#options.runDirectory, migrationId);
    const mover = await livingProcess(pid);
    if (mover === undefined) return 'none';
    kill(mover.pid);
    const dead = await eventually(this.#options, DEATH, async () => (await livingProcess(pid)) === undefined);
    if (!dead)
      throw new Error(
        `the mover of ${migrationId} (pid ${mover.pid}) did not die within ${DEATH.limitMs / 1_000} s of SIGKILL`,
      );
    return 'killed';
  }

  /** The unit's name also keeps a second mover of the same migration from starting. */
  async #startUnit(unit: string, [program, ...args]: readonly string[]): Promise<void> {
    const passed = Object.entries(this.#options.env).filter(([name]) =>
      /^(HANDOFF|AWS|NODE)_|^(HOME|PATH)$/.test(name),
    );
    const settings = passed.map(([name, value]) => `--setenv=${name}=${value}`);
    await promisify(execFile)('systemd-run', [
      `--unit=${unit}`,
      '--collect',
      '--quiet',
      ...settings,
      '--',
      program!,
      ...args,
    ]);
  }

  async #startDetached([program, ...args]: readonly string[], logPath: string): Promise<void> {
    const log = await open(logPath, 'a', 0o600);
    try {
      const child = spawn(program!, args, {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        cwd: '/',
        env: this.#options.env as NodeJS.ProcessEnv,
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
}

/** The mover's side: makes it known under its migration's name for as long as it runs. */
export async function runMoverProcess(mover: Mover, migrationId: string, runDirectory: string): Promise<void> {
  const paths = pathsOf(runDirectory, migrationId);
  await mkdir(runDirectory, { recursive: true, mode: 0o700 });
  const other = await livingProcess(paths.pid);
  if (other !== undefined) throw new Error(`${migrationId} has a mover already (pid ${other.pid})`);
  await writePidFile(paths.pid);
  const server = await listenForControl(paths.socket, mover);
  // `systemctl stop`: called off, as long as it can be.
  process.on('SIGTERM', () => mover.cancel());
  try {
    await mover.run();
  } finally {
    server.close();
    await removePidFile(paths.pid);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
