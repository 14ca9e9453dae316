import { Command } from 'commander';
import { z } from 'zod';
import { type PolicyOptions, policyOf, withPolicyOptions } from '../cli/policy-options.ts';
import { buildProgram } from '../cli/program.ts';
import { FAILURES, type FailureCode, HandoffError } from '../contract/errors.ts';
import { Policy } from '../contract/policy.ts';
import { problem } from '../lambdas/api/problem.ts';
import { markdownTable, page } from './markdown.ts';
import { recoveryRulesPage } from './recovery-rules-page.ts';

/** A page under docs/, relative to it. */
export interface Page {
  path: string;
  text: string;
}

const HELP_WIDTH = 110;

export function generatedPages(): Page[] {
  return [
    { path: 'reference/cli.md', text: cliPage() },
    { path: 'reference/policy.md', text: policyPage() },
    { path: 'reference/errors.md', text: errorsPage() },
    { path: 'reference/recovery-rules.md', text: recoveryRulesPage() },
  ];
}

function cliPage(): string {
  const program = buildProgram();
  return page('The command line', [
    'From `cli/program.ts`. In a checkout, run it as `npx handoff`.',
    helpOf(program),
    ...program.commands.map((command) => `## ${command.name()}\n\n${helpOf(command)}`),
  ]);
}

function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
    getOutHelpWidth: () => HELP_WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return `\`\`\`text\n${help.trimEnd()}\n\`\`\``;
}

function policyPage(): string {
  const options = policyFlags();
  const rows = Object.entries(policySchema()).map(([field, { description, default: fallback, ...type }]) => [
    `\`${field}\``,
    allowedValues(type),
    `\`${fallback}\``,
    options.has(field) ? `\`${options.get(field)}\`` : '-',
    description,
  ]);
  return page('The policy of a migration', [
    'From `contract/policy.ts`. A policy is part of every request for a migration, a forecast or an evacuation. Fields that are not given ' +
      'have their default.',
    markdownTable(['field', 'values', 'default', 'option of the CLI', 'meaning'], rows),
  ]);
}

interface FieldSchema {
  description: string;
  default: unknown;
  type: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
}

const policySchema = () =>
  (z.toJSONSchema(Policy, { io: 'input' }) as unknown as { properties: Record<string, FieldSchema> }).properties;

function allowedValues({
  type,
  enum: choices,
  minimum,
  maximum,
}: Pick<FieldSchema, 'type' | 'enum' | 'minimum' | 'maximum'>): string {
  if (choices !== undefined) return choices.map((choice) => `\`${choice}\``).join(', ');
  return type === 'integer' ? `${minimum} to ${maximum}` : '`true`, `false`';
}

/** The CLI option of each policy field, found by what the option sets. */
function policyFlags(): Map<string, string> {
  const { options } = withPolicyOptions(new Command());
  return new Map(
    options.map((option) => {
      const value = option.negate ? false : (option.argChoices?.[0] ?? 1);
      const set = policyOf({ autoConverge: true, [option.attributeName()]: value } as PolicyOptions);
      return [Object.keys(set)[0] ?? '', option.flags.split(' ')[0]!];
    }),
  );
}

function errorsPage(): string {
  const rows = (Object.keys(FAILURES) as FailureCode[]).map((code) => {
    const status = problem(new HandoffError(code, '')).statusCode ?? 500;
    return [`\`${code}\``, status < 500 ? String(status) : '-', FAILURES[code]];
  });
  return page('Error codes', [
    'From `contract/errors.ts`. A code never changes its meaning. An agent reports it, an execution fails with it, the record of a ' +
      'migration has it as `failure.code` or `warning.code`, and the API answers with it as `code` of a problem document (RFC 9457).',
    'The column *HTTP* is the status with which the API refuses a request for this reason; `-`: the code ends a migration, and no ' +
      'request is refused with it.',
    markdownTable(['code', 'HTTP', 'meaning'], rows),
    'Besides these the API answers `UnknownRoute` (404) and `Internal` (500: the request was not carried out, or its outcome is unknown).',
  ]);
}
