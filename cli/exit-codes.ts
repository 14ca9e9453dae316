import { CommanderError } from 'commander';
import { ApiProblem, Unreachable } from './api-client.ts';

/** What a program can tell from the exit code alone; docs/reference/cli.md lists them. */
export const EXIT = {
  ok: 0,
  failed: 1,
  badInput: 2,
  unknown: 3,
  conflict: 4,
  unreachable: 5,
  needsOperator: 6,
} as const;

export const EXIT_CODES_HELP = `
Exit codes: 0 done; 1 ended otherwise than asked for; 2 bad input; 3 unknown host, migration or evacuation;
            4 conflicts with the present state; 5 the API cannot be reached; 6 an operator is needed.`;

const BY_HTTP_STATUS: Partial<Record<number, number>> = {
  400: EXIT.badInput,
  422: EXIT.badInput,
  404: EXIT.unknown,
  409: EXIT.conflict,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
  if (error instanceof ApiProblem) return BY_HTTP_STATUS[error.problem.status] ?? EXIT.failed;
  return error instanceof Unreachable ? EXIT.unreachable : EXIT.failed;
}
