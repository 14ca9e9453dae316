import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, UpdateCommand, type UpdateCommandInput } from '@aws-sdk/lib-dynamodb';
import type { commitRecordKey } from '../../contract/mailbox.ts';
import { CONTROL, HISTORY_SECONDS, hostKey, lockKey, MAILBOX } from '../platform/control-table.ts';
import { dynamo, now } from '../platform/runtime.ts';

/**
 * Giving back what a migration or an evacuation held. Settle does it, and the audit for those that never came to it. Each names
 * its owner, so that giving back twice, or what is another's by now, changes nothing.
 */

/** A migration's slots on one side of a host, its place in the host's line, and the memory promised to it there. */
export async function release(hostId: string, side: 'outgoing' | 'incoming', migrationId: string): Promise<void> {
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: hostKey(hostId),
      UpdateExpression: 'DELETE #side :me, cutovers :me REMOVE line.#id, reservations.#id',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeNames: { '#side': side, '#id': migrationId },
      ExpressionAttributeValues: { ':me': new Set([migrationId]) },
    }),
  );
}

/** The turn to switch, which the next one waits for. */
export async function releaseCutover(hostId: string, migrationId: string): Promise<void> {
  await update({
    TableName: CONTROL,
    Key: hostKey(hostId),
    UpdateExpression: 'DELETE cutovers :me',
    ConditionExpression: 'attribute_exists(pk)',
    ExpressionAttributeValues: { ':me': new Set([migrationId]) },
  });
}

export async function unlock(vm: string, migrationId: string): Promise<void> {
  await unlessRefused(() =>
    dynamo.send(
      new DeleteCommand({
        TableName: CONTROL,
        Key: lockKey(vm),
        ConditionExpression: 'migrationId = :id',
        ExpressionAttributeValues: { ':id': migrationId },
      }),
    ),
  );
}

/** A commit record nobody used is revoked; a committed one stays as the proof it is. */
export async function closeCommitRecord(key: ReturnType<typeof commitRecordKey>): Promise<void> {
  await unlessRefused(() =>
    update({
      TableName: MAILBOX,
      Key: key,
      UpdateExpression: 'SET #state = :revoked',
      ConditionExpression: '#state = :open',
      ExpressionAttributeNames: { '#state': 'state' },
      ExpressionAttributeValues: { ':revoked': 'REVOKED', ':open': 'OPEN' },
    }),
  );
}

/** Lets a closed commit record go when history goes. One that may still have to prove something must stay. */
export async function retireCommitRecord(key: ReturnType<typeof commitRecordKey>): Promise<void> {
  await unlessRefused(() =>
    update({
      TableName: MAILBOX,
      Key: key,
      UpdateExpression: 'SET expiresAt = :expiry',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeValues: { ':expiry': Math.floor(now() / 1000) + HISTORY_SECONDS },
    }),
  );
}

/** Lets go of a host an evacuation had taken; the host's state stays. */
export async function endEvacuation(hostId: string, executionArn: string): Promise<void> {
  await unlessRefused(() =>
    update({
      TableName: CONTROL,
      Key: hostKey(hostId),
      UpdateExpression: 'REMOVE evacuation',
      ConditionExpression: 'evacuation = :owner',
      ExpressionAttributeValues: { ':owner': executionArn },
    }),
  );
}

const update = (input: UpdateCommandInput) => dynamo.send(new UpdateCommand(input));

/** A condition that does not hold says that there is nothing to give back any more. */
async function unlessRefused(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
