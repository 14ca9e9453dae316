import type { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';

/** Parses outside input. `what` names the input in errors about the whole. Fails with InvalidInput, whose detail names each field. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.flatMap((issue) => fieldErrors(issue, what));
  throw new HandoffError('InvalidInput', errors.map(({ field, message }) => `${field}: ${message}`).join('; '), {
    detail: { errors },
  });
}

/** zod's messages, except for unknown and missing fields, of which zod names the parent or JavaScript's undefined. */
function fieldErrors(issue: z.core.$ZodIssue, what: string): { field: string; message: string }[] {
  const field = (...more: string[]) => [...issue.path, ...more].join('.') || what;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: field(key), message: 'is not a field of this request' }));
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return [{ field: field(), message: `is missing; it must be of type ${issue.expected}` }];
  }
  return [{ field: field(), message: issue.message }];
}
