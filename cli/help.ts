import type { Command } from 'commander';

/** Adds notes and an example to a command's --help; `example` is what follows "handoff". */
export function addHelp(command: Command, example: string, ...notes: readonly string[]): Command {
  return command.addHelpText('after', ['', ...notes, `Example: handoff ${example}`].join('\n'));
}
