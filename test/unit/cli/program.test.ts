import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../../../cli/program.ts';

const commands = buildProgram().commands.map((command): [string, Command] => [command.name(), command]);

function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  return help;
}

describe.each(commands)('handoff %s --help', (name, command) => {
  it('explains the command, its arguments and its options', () => {
    expect(command.description()).toMatch(/^[A-Z].*\.$/);
    for (const part of [...command.registeredArguments, ...command.options]) expect(part.description).not.toBe('');
  });

  it('ends with an example that the command accepts', async () => {
    const example = /\nExample: handoff (.*)\n*$/.exec(helpOf(command))?.[1];
    expect(example).toMatch(new RegExp(`^${name}\\b`));
    const words = [...example!.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
    let carriedOut = '';
    const program = buildProgram();
    for (const each of program.commands) {
      each.action(() => {
        carriedOut = each.name();
      });
    }
    await program.parseAsync(words, { from: 'user' });
    expect(carriedOut).toBe(name);
  });

  it('speaks of commands, not of HTTP routes', () => {
    expect(helpOf(command)).not.toMatch(/\b(GET|POST|PUT|DELETE) \//);
  });
});
