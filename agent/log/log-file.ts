import { appendFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** `agent.jsonl.1`, the newest, to `agent.jsonl.4`: with the file itself, five times its size is the most that is kept. */
const OLD_FILES = 4;

/**
 * Appends to a file of bounded size that several processes share: the agent's short runs, and the mover of each migration. So the
 * file is opened for each batch, which follows a rotation by another process, and a batch is one write to a file opened with
 * O_APPEND, which the kernel keeps whole. pino and pino-roll, tried for this, hold their file open and number rotations for one
 * process, and write synchronously where no line may be lost at the end, so that a disk that hangs would stop the mover.
 *
 * When two processes rotate in the same moment, an old file may be lost.
 */
export function appendTo(path: string, maxBytes: number): (text: string) => Promise<void> {
  let made: Promise<unknown> | undefined;
  return async (text) => {
    made ??= mkdir(dirname(path), { recursive: true, mode: 0o750 });
    await made.catch(() => {
      made = undefined;
    });
    if ((await sizeOf(path)) + Buffer.byteLength(text) > maxBytes) await rotate(path);
    await appendFile(path, text, { mode: 0o640 });
  };
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

async function rotate(path: string): Promise<void> {
  for (let number = OLD_FILES; number >= 1; number--) {
    const newer = number === 1 ? path : `${path}.${number - 1}`;
    // Not there yet, or renamed by another process just now.
    await rename(newer, `${path}.${number}`).catch(() => {});
  }
}
