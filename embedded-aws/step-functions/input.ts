import { AwsError, type JsonObject } from '../core/service.ts';

/** Reads members of an operation's input; throws ValidationException in the API's words. */
export function text(input: JsonObject, member: string): string {
  const value = optionalText(input, member);
  if (value !== undefined) return value;
  throw invalid(`Value null at '${member}' failed to satisfy constraint: Member must not be null`);
}

export function optionalText(input: JsonObject, member: string): string | undefined {
  const value = input[member] ?? undefined;
  if (value === undefined || typeof value === 'string') return value;
  throw invalid(`Value at '${member}' failed to satisfy constraint: Member must be a string`);
}

/** One of `values`, or undefined when absent. */
export function optionalChoice<T extends string>(
  input: JsonObject,
  member: string,
  values: readonly T[],
): T | undefined {
  const value = optionalText(input, member);
  if (value === undefined || (values as readonly string[]).includes(value)) return value as T | undefined;
  throw invalid(
    `Value '${value}' at '${member}' failed to satisfy constraint: Member must satisfy enum value set: [${values.join(', ')}]`,
  );
}

export function invalid(constraint: string): AwsError {
  return new AwsError('ValidationException', `1 validation error detected: ${constraint}`);
}
