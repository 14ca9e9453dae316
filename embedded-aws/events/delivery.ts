import type { Clock } from '../../common/clock.ts';
import { AwsError, type Json } from '../core/service.ts';

export interface RetryPolicy {
  MaximumRetryAttempts?: number;
  MaximumEventAgeInSeconds?: number;
}

/** What the attributes of a dead letter say of the delivery that failed. */
export interface DeadLetter {
  body: Json;
  attributes: Record<string, string>;
}

export interface Delivery {
  clock: Clock;
  random: () => number;
  signal: AbortSignal;
  /** The ARN of the rule or schedule that delivers, for the dead letter. */
  ruleArn: string;
  targetArn: string;
  input: Json;
  retryPolicy: RetryPolicy | undefined;
  send: (input: Json) => Promise<unknown>;
  /** Called when the target is given up. */
  bury: (letter: DeadLetter) => Promise<unknown>;
}

// What AWS uses where a target says nothing.
const DEFAULT_ATTEMPTS = 185;
const DEFAULT_AGE_SECONDS = 86_400;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;

/**
 * Delivers one event to one target: retries what may pass with exponential back-off and jitter, within the target's retry
 * policy, and buries the event as a dead letter when it is exhausted or when trying again can't help. Never rejects,
 * unless burying does.
 */
export async function deliver(delivery: Delivery): Promise<void> {
  const { clock, signal, input, retryPolicy } = delivery;
  const attempts = retryPolicy?.MaximumRetryAttempts ?? DEFAULT_ATTEMPTS;
  const expires = clock.now() + (retryPolicy?.MaximumEventAgeInSeconds ?? DEFAULT_AGE_SECONDS) * 1_000;
  for (let retries = 0; !signal.aborted; retries += 1) {
    try {
      await delivery.send(input);
      return;
    } catch (error) {
      const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** retries) * (0.5 + delivery.random() / 2);
      const hopeless = !isTransient(error);
      const exhausted =
        retries >= attempts
          ? 'MaximumRetryAttempts'
          : clock.now() + pause > expires
            ? 'MaximumEventAgeInSeconds'
            : undefined;
      if (hopeless || exhausted !== undefined) {
        const attributes = describe(delivery, error, retries, hopeless ? undefined : exhausted);
        await delivery.bury({ body: input, attributes });
        return;
      }
      await clock.sleep(pause, signal);
    }
  }
}

const isTransient = (error: unknown) =>
  !(error instanceof AwsError) ||
  error.status === 429 ||
  /Throttl|TooManyRequests/.test(error.code) ||
  (error.status >= 500 && error.code !== 'NotImplemented');

const describe = (
  { ruleArn, targetArn }: Delivery,
  error: unknown,
  retries: number,
  exhausted: string | undefined,
): DeadLetter['attributes'] => ({
  RULE_ARN: ruleArn,
  TARGET_ARN: targetArn,
  ERROR_CODE: error instanceof AwsError ? error.code : 'INTERNAL_ERROR',
  ERROR_MESSAGE: error instanceof Error ? error.message : String(error),
  RETRY_ATTEMPTS: String(retries),
  ...(exhausted === undefined ? {} : { EXHAUSTED_RETRY_CONDITION: exhausted }),
});
