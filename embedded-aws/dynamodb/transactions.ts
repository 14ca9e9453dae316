import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { AwsError, type JsonObject } from '../core/service.ts';
import { validationError } from './dynalite.ts';
import type { TransactWriteRequest, WriteKind, WriteRequest } from './requests.ts';
import type { Table } from './table.ts';
import type { Item } from './values.ts';
import { keyOfWrite, type Plan, planAt } from './writes.ts';

/** As long as DynamoDB remembers a ClientRequestToken after the request completed. */
const TOKEN_LIFETIME_MS = 10 * 60_000;

/**
 * Decides a transaction: every action is judged on the items as they are, before anything changes, so it takes place as a
 * whole or not at all. Fails with TransactionCanceledException, whose reasons stand in the order of the actions. Another
 * transaction can never be in the way (TransactionConflict), since each is carried out in one go. DynamoDB's limit of
 * 4 MB in all is not checked.
 */
export function planTransaction(request: TransactWriteRequest, tableOf: (name: string) => Table): Plan[] {
  const actions = request.TransactItems.map((item) => {
    const [kind, write] = Object.entries(item)[0] as [WriteKind, WriteRequest];
    const table = tableOf(write.TableName);
    return { kind, write, table, key: keyOfWrite(table, write) };
  });
  refuseRepeatedItems(actions);
  const plans: Plan[] = [];
  const reasons = actions.map(({ kind, write, table, key }): JsonObject => {
    try {
      plans.push(planAt(key, kind, table, write));
      return { Code: 'None' };
    } catch (error) {
      return reasonFor(error);
    }
  });
  if (plans.length === actions.length) return plans;
  const codes = reasons.map((reason) => reason.Code).join(', ');
  throw new AwsError(
    'TransactionCanceledException',
    `Transaction cancelled, please refer cancellation reasons for specific reasons [${codes}]`,
    400,
    { CancellationReasons: reasons },
  );
}

function refuseRepeatedItems(actions: { table: Table; key: Item }[]): void {
  const places = actions.map(({ table, key }) => ({ table, ...table.view.positionOf(key) }));
  places.forEach((place, index) => {
    for (let other = 0; other < index; other++) {
      const { table, partition, sort } = places[other]!;
      if (table === place.table && partition === place.partition && sort === place.sort)
        throw validationError('Transaction request cannot include multiple operations on one item');
    }
  });
}

const REASON_CODES: Record<string, string> = {
  ConditionalCheckFailedException: 'ConditionalCheckFailed',
  ValidationException: 'ValidationError',
};

function reasonFor(error: unknown): JsonObject {
  const code = error instanceof AwsError ? REASON_CODES[error.code] : undefined;
  if (code === undefined) throw error;
  const { message, extra } = error as AwsError;
  return { Code: code, Message: message, ...extra };
}

/** Remembers which transactions were carried out, so that a repeated one is answered and not done again. */
export class CompletedTransactions {
  readonly #clock: Clock;
  readonly #completed = new Map<string, { at: number; digest: string }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Fails with IdempotentParameterMismatchException when the token stood for another request. */
  has(input: JsonObject): boolean {
    this.#forgetOld();
    const known = this.#completed.get(input.ClientRequestToken as string);
    if (!known) return false;
    if (known.digest === digestOf(input)) return true;
    throw new AwsError(
      'IdempotentParameterMismatchException',
      'The request uses the same client token as a previous, but non-identical request. ' +
        'Do not reuse a client token with different requests, unless the requests are identical',
    );
  }

  add(input: JsonObject): void {
    const token = input.ClientRequestToken;
    if (typeof token === 'string') this.#completed.set(token, { at: this.#clock.now(), digest: digestOf(input) });
  }

  #forgetOld(): void {
    const limit = this.#clock.now() - TOKEN_LIFETIME_MS;
    for (const [token, { at }] of this.#completed) {
      if (at > limit) return;
      this.#completed.delete(token);
    }
  }
}

function digestOf(input: JsonObject): string {
  return createHash('sha256').update(JSON.stringify(input.TransactItems)).digest('base64');
}
