import { spawn } from 'node:child_process';

export interface RunOptions {
  cwd?: string;
  /** The whole environment; without it, this process's own. */
  env?: Record<string, string>;
  /** Kills the command and everything it started in its process group. */
  signal?: AbortSignal;
}

export interface Outcome {
  /** 128 + the signal's number when one ended the command, as a shell has it. */
  exitCode: number;
  stdout: Buffer;
  stderr: string;
}

/** Runs a command to its end, whatever its exit code. Rejects only when it cannot be started. */
export function outcomeOf(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [program, ...args] = argv;
  if (program === undefined) throw new TypeError('an empty command');
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    };
    if (options.signal?.aborted) kill();
    options.signal?.addEventListener('abort', kill, { once: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      options.signal?.removeEventListener('abort', kill);
      resolve({
        exitCode: code ?? 128 + (signal === 'SIGKILL' ? 9 : 15),
        stdout: Buffer.concat(out),
        stderr: Buffer.concat(err).toString('utf8'),
      });
    });
  });
}

/** A command that ended with another exit code than 0. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;
  readonly stderr: string;

  constructor(argv: readonly string[], outcome: Outcome) {
    super(`"${argv.join(' ')}" ended with ${outcome.exitCode}: ${outcome.stderr.trim() || '(nothing on stderr)'}`);
    this.exitCode = outcome.exitCode;
    this.stderr = outcome.stderr;
  }
}

/** Runs a command and returns what it wrote; rejects with a CommandError when it fails. */
export async function runBytes(argv: readonly string[], options?: RunOptions): Promise<Buffer> {
  const outcome = await outcomeOf(argv, options);
  if (outcome.exitCode !== 0) throw new CommandError(argv, outcome);
  return outcome.stdout;
}

/** As runBytes, as text. */
export async function run(argv: readonly string[], options?: RunOptions): Promise<string> {
  return (await runBytes(argv, options)).toString('utf8');
}
