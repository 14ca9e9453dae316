import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';

/** A process, distinct from a later one with the same pid. */
export const ProcessIdentity = z.object({
  pid: z.int().min(1),
  /** In clock ticks since boot, as the kernel counts it. */
  startTime: z.string(),
});
export type ProcessIdentity = z.infer<typeof ProcessIdentity>;

export async function writePidFile(path: string): Promise<void> {
  const startTime = await startTimeOf(process.pid);
  // Written aside and renamed, so that a reader never sees half of it.
  await writeFile(`${path}.new`, JSON.stringify({ pid: process.pid, startTime }), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** The process a pid file names, if it still lives. Throws when the file cannot be understood. */
export async function livingProcess(path: string): Promise<ProcessIdentity | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const named = ProcessIdentity.parse(JSON.parse(text));
  return (await startTimeOf(named.pid)) === named.startTime ? named : undefined;
}

export function removePidFile(path: string): Promise<void> {
  return rm(path, { force: true });
}

/** undefined when there is no such process, or only its remains wait to be reaped. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in brackets, and may hold anything, brackets and spaces included.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
