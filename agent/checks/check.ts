import type { Check } from '../../contract/facts.ts';

/** A check's verdict, before it has a name. */
export type Verdict = { passed: true; found: string } | { passed: false; found: string; remedy: string };

export const pass = (found: string): Verdict => ({ passed: true, found });
export const fail = (found: string, remedy: string): Verdict => ({ passed: false, found, remedy });

/** A check by its stable name, and how to come to its verdict. */
export type NamedCheck = readonly [name: string, look: () => Verdict | Promise<Verdict>];

/** Runs all checks at once. One that throws has failed, with the error as what was found; the others are not kept from running. */
export function runChecks(checks: readonly NamedCheck[]): Promise<Check[]> {
  return Promise.all(
    checks.map(async ([name, look]) => {
      try {
        return { name, ...(await look()) };
      } catch (error) {
        const found = error instanceof Error ? error.message : String(error);
        return { name, ...fail(found, 'make this check possible; it could not be carried out') };
      }
    }),
  );
}

/**
 * A fact that several checks need. It is looked up once; when that fails, each of them fails with the reason, and no other
 * check is kept from running.
 */
export function shared<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
