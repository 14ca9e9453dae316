import type { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';

/** Reads something from outside with its schema. Fails with InvalidInput, whose detail names each field. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const outcome = schema.safeParse(value, { reportInput: true });
  if (outcome.success) return outcome.data;
  const errors = outcome.error.issues.flatMap((issue) => faults(issue, what));
  throw new HandoffError('InvalidInput', errors.map(({ field, message }) => `${field}: ${message}`).join('; '), {
    detail: { errors },
  });
}

/** zod's own words, but for what it says of the wrong field or of JavaScript's undefined. */
function faults(issue: z.core.$ZodIssue, what: string): { field: string; message: string }[] {
  const field = (...more: string[]) => [...issue.path, ...more].join('.') || what;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: field(key), message: 'is not a field of this request' }));
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return [{ field: field(), message: `is missing; it must be of type ${issue.expected}` }];
  }
  return [{ field: field(), message: issue.message }];
}
