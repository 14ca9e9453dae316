import { table } from '../common/text-table.ts';
import type { Totals } from './harness/batch.ts';
import type { Fault } from './harness/fault-plan.ts';
import type { MutationResult } from './harness/mutation-check.ts';
import { DEFAULTS, type SimulateOptions } from './options.ts';

export const faultText = ({ kind, point, nth, after, ms, choice }: Fault): string =>
  `${kind} ${after ? 'after' : 'before'} ${point} no. ${nth}${ms === undefined ? '' : ` (${ms} ms)`}, choice ${choice}`;

export const progressText = ({ seeds, migrations, violations }: Totals, of: number): string =>
  `${seeds} of ${of} worlds, ${migrations} migrations, ${violations.length} violations`;

/** What happened in a batch, and what to do next. */
export function batchText(totals: Totals, options: SimulateOptions): string {
  const { seeds, migrations, faults, outcomes, postCopies, violations, migrationsPerSecond } = totals;
  const count = (of: Record<string, number>) => Object.entries(of).toSorted(([, a], [, b]) => b - a);
  const sum = (of: Record<string, number>) => String(Object.values(of).reduce((all, times) => all + times, 0));
  const lines = [
    table([
      ['worlds', String(seeds)],
      ['migrations', `${migrations} (${migrationsPerSecond} per second of CPU time)`],
      ...count(outcomes).map(([status, times]) => [`  ${status}`, String(times)]),
      ['by post-copy', sum(postCopies)],
      ...count(postCopies).map(([status, times]) => [`  ${status}`, String(times)]),
      ['faults', sum(faults)],
      ...count(faults).map(([kind, times]) => [`  ${kind}`, String(times)]),
      ['violations', String(violations.length)],
    ]),
  ];
  for (const { seed, invariant, detail, faults: minimal } of violations) {
    lines.push('', `Seed ${seed} violates "${invariant}": ${detail}`);
    lines.push('  The fewest faults that cause it:', ...minimal.map((fault) => `    ${faultText(fault)}`));
    lines.push(`  Next: npm run simulate -- --seed ${seed}${worldFlags(options)}`);
  }
  if (violations.length === 0) {
    lines.push('', 'All invariants held. Next: run the command again without --first, for other worlds.');
  }
  return lines.join('\n');
}

/** The options that a world needs beside its seed. */
function worldFlags({ migrations, hosts, evacuations, faults, assembly }: SimulateOptions): string {
  const flags = [
    migrations !== DEFAULTS.migrations && `--migrations ${migrations}`,
    hosts !== DEFAULTS.hosts && `--hosts ${hosts}`,
    evacuations !== DEFAULTS.evacuations && `--evacuations ${evacuations}`,
    faults !== DEFAULTS.faults && `--faults ${faults.join(',') || 'none'}`,
    assembly !== undefined && `--assembly ${assembly}`,
  ];
  return flags.map((flag) => (flag === false ? '' : ` ${flag}`)).join('');
}

/** What one world came to. `plan` holds the fewest faults if it violates an invariant. */
export function worldText(violated: boolean, plan: readonly Fault[]): string {
  if (!violated) return '\nAll invariants held.';
  const faults = plan.map((fault) => `  ${faultText(fault)}`);
  return ['', 'The world above has the fewest faults that cause the violation:', ...faults].join('\n');
}

export function mutationRow({ measure, seed, violation, worlds }: MutationResult): string[] {
  return violation === undefined
    ? [measure, 'NOT NOTICED', `${worlds} worlds`]
    : [measure, `${violation.invariant}: ${violation.detail}`, `seed ${seed}`];
}

/** Which measures were noticed to be off, and what to do next. */
export function mutationsText(results: readonly MutationResult[]): string {
  const missed = results.filter(({ seed }) => seed === undefined).map(({ measure }) => measure);
  const rows = table([['switched off', 'violation', 'found by'], ...results.map(mutationRow).map(shortened)]);
  if (missed.length === 0) return `${rows}\n\nAll ${results.length} measures were noticed to be off.`;
  const next = `npm run simulate -- --mutate ${missed.join(',')} --seeds 500`;
  return `${rows}\n\nNot noticed: ${missed.join(', ')}. Next, with more worlds: ${next}`;
}

/** Details that recovery writes for an operator can be long; progress shows them whole. */
function shortened([measure = '', violation = '', by = '']: string[]): string[] {
  const most = 100;
  return [measure, violation.length > most ? `${violation.slice(0, most)}…` : violation, by];
}
