import type { Fields } from '../diagnostics/fields.ts';
import type { Catcher, Retrier } from './definition.ts';
import { parseConclusion } from './parse-conclusion.ts';

/** The greatest MaxDelaySeconds Step Functions takes: one year and a day. */
const LONGEST_DELAY_SECONDS = 31_622_400;
const MOST_ATTEMPTS = 99_999_999;

export function parseRetry(state: Fields): Retrier[] {
  const retriers = state.objects('Retry');
  return retriers.map((fields, index) => {
    fields.only([
      'ErrorEquals',
      'IntervalSeconds',
      'MaxAttempts',
      'BackoffRate',
      'MaxDelaySeconds',
      'JitterStrategy',
      'Comment',
    ]);
    const jitter = fields.text('JitterStrategy') ?? 'NONE';
    if (jitter !== 'FULL' && jitter !== 'NONE')
      fields.complain('JitterStrategy', '"JitterStrategy" must be FULL or NONE');
    return {
      errorEquals: parseErrorEquals(fields, index === retriers.length - 1),
      intervalSeconds: fields.number('IntervalSeconds', { least: 1, most: 99_999_999, whole: true }) ?? 1,
      maxAttempts: fields.number('MaxAttempts', { least: 0, most: MOST_ATTEMPTS, whole: true }) ?? 3,
      backoffRate: fields.number('BackoffRate', { least: 1, most: Number.MAX_VALUE, whole: false }) ?? 2,
      maxDelaySeconds:
        fields.number('MaxDelaySeconds', { least: 1, most: LONGEST_DELAY_SECONDS, whole: true }) ??
        Number.POSITIVE_INFINITY,
      fullJitter: jitter === 'FULL',
    };
  });
}

export function parseCatch(state: Fields): Catcher[] {
  const catchers = state.objects('Catch');
  return catchers.map((fields, index) => {
    fields.only(['ErrorEquals', 'Next', 'Output', 'Assign', 'Comment']);
    const errorEquals = parseErrorEquals(fields, index === catchers.length - 1);
    return { ...parseConclusion(fields, 'errorOutput'), errorEquals, next: fields.requiredText('Next') };
  });
}

function parseErrorEquals(fields: Fields, last: boolean): string[] {
  const names = fields.texts('ErrorEquals');
  if (fields.has('ErrorEquals') && names.length === 0)
    fields.complain('ErrorEquals', '"ErrorEquals" must not be empty');
  if (names.includes('States.ALL') && (names.length > 1 || !last)) {
    fields.complain('ErrorEquals', 'States.ALL must stand alone, and last');
  }
  return names;
}
