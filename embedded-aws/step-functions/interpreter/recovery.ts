import type { Random } from '../../core/random.ts';
import type { StateFailure } from '../common/failures.ts';
import { errorDetails } from '../common/history.ts';
import { sleepUntil } from '../common/waiting.ts';
import type { Catcher, Retrier, State } from '../definition/definition.ts';
import type { Outcome, Visit } from './visit.ts';

type RecoverableState = Extract<State, { retry: readonly Retrier[] }>;

/** Makes attempts until one succeeds, no Retry applies any more, or the branch is aborted; then Catch decides. */
export async function withRecovery(
  visit: Visit,
  state: RecoverableState,
  attempt: () => Promise<Outcome>,
): Promise<Outcome> {
  const { signal, run } = visit.branch;
  const { clock, random } = run.environment;
  const retries = new Map<Retrier, number>();
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      const failure = visit.failureOf(error);
      const retrier = state.retry.find(({ errorEquals }) => matches(errorEquals, failure.error));
      const done = retrier === undefined ? 0 : (retries.get(retrier) ?? 0);
      if (retrier === undefined || done >= retrier.maxAttempts) return caught(visit, state.catch, failure);
      retries.set(retrier, done + 1);
      await sleepUntil(clock, clock.now() + delaySeconds(retrier, done, random) * 1_000, signal);
      signal.throwIfAborted();
      visit.retryCount += 1;
    }
  }
}

/** Whether a Retry or Catch handles an error. What ends an execution by definition is handled by none. */
export function matches(errorEquals: readonly string[], error: string | undefined): boolean {
  if (error === 'States.Runtime') return false;
  return errorEquals.some((name) => {
    if (name === 'States.ALL') return error !== 'States.DataLimitExceeded';
    if (name === 'States.TaskFailed') return error !== 'States.Timeout' && error !== 'States.DataLimitExceeded';
    return name === error;
  });
}

/** The pause before the next attempt when `done` retries have been made. FULL jitter draws it from 0 up to that. */
export function delaySeconds(retrier: Retrier, done: number, random: Random): number {
  const { intervalSeconds, backoffRate, maxDelaySeconds, fullJitter } = retrier;
  const delay = Math.min(intervalSeconds * backoffRate ** done, maxDelaySeconds);
  return fullJitter ? random() * delay : delay;
}

async function caught(visit: Visit, catchers: readonly Catcher[], failure: StateFailure): Promise<Outcome> {
  const catcher = catchers.find(({ errorEquals }) => matches(errorEquals, failure.error));
  if (catcher === undefined) throw failure;
  const errorOutput = errorDetails(failure);
  const named = { Error: errorOutput.error ?? null, Cause: errorOutput.cause ?? null };
  return visit.conclude(catcher, visit.payload(named, 'error output'), { errorOutput: named });
}
