import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import type { Movers } from '../deps.ts';
import { eventually } from '../eventually.ts';
import { type DetachedProcessOptions, startDetached } from '../host/detached-process.ts';
import { askMover, listenForControl } from './control-socket.ts';
import type { Mover } from './mover.ts';
import { livingProcess, removePidFile, writePidFile } from './pid-file.ts';

/** A mover answers within a second; a loaded host gets more. */
const START = { everyMs: 50, limitMs: 15_000 };
/** SIGKILL takes effect at once, unless the process is stuck in the kernel (dead NFS); then nothing is proven. */
const DEATH = { everyMs: 20, limitMs: 30_000 };

export interface MoverProcessOptions extends DetachedProcessOptions {
  clock: Clock;
}

const pathsOf = (runDirectory: string, migrationId: string) => ({
  socket: join(runDirectory, `${migrationId}.sock`),
  pid: join(runDirectory, `${migrationId}.pid`),
});

/** Movers as processes of their own. */
export class MoverProcesses implements Movers {
  readonly #options: MoverProcessOptions;

  constructor(options: MoverProcessOptions) {
    this.#options = options;
  }

  async start({ migrationId, requestId }: { migrationId: string; requestId: string }): Promise<void> {
    const { runDirectory, clock } = this.#options;
    const { socket } = pathsOf(runDirectory, migrationId);
    const log = await startDetached(this.#options, ['mover', requestId], {
      unit: `handoff-${migrationId}`,
      log: `${migrationId}.log`,
    });
    const answers = await eventually(
      { clock },
      START,
      async () => (await askMover(socket, { command: 'status' })) !== undefined,
    );
    if (!answers) {
      throw new Error(`the mover of ${migrationId} did not come up within ${START.limitMs / 1_000} s; see ${log}`);
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
