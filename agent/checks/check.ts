import type { Check } from '../../contract/facts.ts';
import { messageOf } from '../error-message.ts';

/** A check's verdict, before it has a name. */
export type Verdict = { passed: true; found: string } | { passed: false; found: string; remedy: string };

export const pass = (found: string): Verdict => ({ passed: true, found });
export const fail = (found: string, remedy: string): Verdict => ({ passed: false, found, remedy });

/** A check: its stable name, and the function that decides. */
export type NamedCheck = readonly [name: string, decide: () => Verdict | Promise<Verdict>];

/** Runs all checks at once. A check that throws has failed, with the error as `found`; the others run all the same. */
export function runChecks(checks: readonly NamedCheck[]): Promise<Check[]> {
  return Promise.all(
    checks.map(async ([name, decide]) => {
      try {
        return { name, ...(await decide()) };
      } catch (error) {
        return { name, ...fail(messageOf(error), 'make this check possible; it could not be carried out') };
      }
    }),
  );
}

/** A fact that several checks need. When it cannot be obtained, each of them fails with the reason, and no other check is affected. */
export function shared<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
