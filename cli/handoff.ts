#!/usr/bin/env node
import { CommanderError } from 'commander';
import { ApiProblem } from './api-client.ts';
import { exitCodeOf } from './exit-codes.ts';
import { nextCommands } from './next-commands.ts';
import { buildProgram } from './program.ts';

const program = buildProgram();
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
  // Commander has printed its own errors already.
  if (!(error instanceof CommanderError)) report(error);
}

function report(error: unknown): void {
  const problem =
    error instanceof ApiProblem ? error.problem : { code: (error as Error).name, detail: (error as Error).message };
  if (program.opts<{ json?: boolean }>().json) {
    console.log(JSON.stringify(problem));
    return;
  }
  console.error(`handoff: ${problem.code}: ${problem.detail}`);
  if (!(error instanceof ApiProblem)) return;
  for (const { field, message } of error.problem.errors ?? []) console.error(`  ${field}: ${message}`);
  for (const line of nextCommands(error.problem)) console.error(`  ${line}`);
}
