import type { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';

/** Reads something from outside with its schema. Fails with InvalidInput, whose detail names each field. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const outcome = schema.safeParse(value);
  if (outcome.success) return outcome.data;
  const errors = outcome.error.issues.map((issue) => ({
    field: issue.path.join('.') || what,
    message: issue.message,
  }));
  throw new HandoffError('InvalidInput', `${what}: ${errors.map((e) => `${e.field}: ${e.message}`).join('; ')}`, {
    detail: { errors },
  });
}
