import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Runs `use` while no other process of this machine holds the lock on `file`. The lock belongs to a child process that ends when its
 * standard input closes, so the kernel releases the lock whatever happens to this process.
 */
export async function withLock<T>(file: string, use: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo held; exec cat'], {
    // A signal to this process's group must not release the lock before this process has ended.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      holder.once('error', reject);
      holder.once('close', (code) => reject(new Error(`flock ${file} ended with ${code}`)));
      holder.stdout.once('data', () => resolve());
    });
    return await use();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
