import { TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import { TransactWriteCommand, type TransactWriteCommandInput } from '@aws-sdk/lib-dynamodb';
import { dynamo } from './runtime.ts';

type Write = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

/**
 * All writes or none. Returns the names of the writes whose condition did not hold; an empty list means all were made.
 * Anything else, including a conflict with another transaction after a few tries, is thrown.
 */
export async function transact<Name extends string>(writes: readonly { name: Name; write: Write }[]): Promise<Name[]> {
  // Two migrations that touch the same host item at once conflict; one of them simply has to come again.
  for (let attempt = 1; ; attempt++) {
    try {
      await dynamo.send(new TransactWriteCommand({ TransactItems: writes.map(({ write }) => write) }));
      return [];
    } catch (error) {
      if (!(error instanceof TransactionCanceledException)) throw error;
      const codes = (error.CancellationReasons ?? []).map((reason) => reason.Code);
      const refused = writes.filter((_, index) => codes[index] === 'ConditionalCheckFailed').map(({ name }) => name);
      if (refused.length > 0) return refused;
      if (attempt === 5) throw error;
    }
  }
}
