import { outcomeOf } from '../../../lab/command.ts';
import type { ManagedLab } from '../../../lab/managed-lab.ts';

const COMMAND = new URL('../../../cli/handoff.ts', import.meta.url).pathname;

/** Runs `handoff --json` against this managed, as a person does; `answer` is what it printed. */
export async function handoff<T>({ access }: ManagedLab, ...args: string[]): Promise<{ exitCode: number; answer: T }> {
  const { exitCode, stdout, stderr } = await outcomeOf(
    [process.execPath, COMMAND, '--api', access.url, '--json', ...args],
    {
      env: {
        PATH: process.env.PATH ?? '',
        AWS_REGION: access.region,
        AWS_ACCESS_KEY_ID: access.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: access.credentials.secretAccessKey,
      },
    },
  );
  try {
    return { exitCode, answer: JSON.parse(stdout.toString()) as T };
  } catch (cause) {
    throw new Error(`handoff ${args.join(' ')} ended with ${exitCode} and no answer: ${stderr}`, { cause });
  }
}
