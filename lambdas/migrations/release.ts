import { DeleteCommand, UpdateCommand, type UpdateCommandInput } from '@aws-sdk/lib-dynamodb';
import type { MailboxKey } from '../../contract/mailbox.ts';
import { hostKey, lockKey } from '../platform/control-keys.ts';
import { CONTROL, historyEnd, MAILBOX } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { dynamo } from '../platform/runtime.ts';

/**
 * Releases what a migration or an evacuation held. Settle calls these, and the audit for those that were never settled. Each write
 * names the owner, so that a second release, or the release of what has another owner by now, changes nothing.
 */

/** A migration's slots on one side of a host, its queue position there, and the memory promised to it. */
export async function release(hostId: string, side: 'outgoing' | 'incoming', migrationId: string): Promise<void> {
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: hostKey(hostId),
      UpdateExpression: 'DELETE #side :me, cutovers :me REMOVE queue.#id, reservations.#id',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeNames: { '#side': side, '#id': migrationId },
      ExpressionAttributeValues: { ':me': new Set([migrationId]) },
    }),
  );
}

/** The cutover slot, which the next migration waits for. */
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
  const command = new DeleteCommand({
    TableName: CONTROL,
    Key: lockKey(vm),
    ConditionExpression: 'migrationId = :id',
    ExpressionAttributeValues: { ':id': migrationId },
  });
  await unlessConditionFails(dynamo.send(command));
}

/** A commit record nobody used is revoked; a committed one stays as the proof it is. */
export async function closeCommitRecord(key: MailboxKey): Promise<void> {
  await unlessConditionFails(
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

/** Lets a closed commit record expire with the history. One that recovery may still need as a proof must stay. */
export async function retireCommitRecord(key: MailboxKey): Promise<void> {
  await unlessConditionFails(
    update({
      TableName: MAILBOX,
      Key: key,
      UpdateExpression: 'SET expiresAt = :expiry',
      ConditionExpression: 'attribute_exists(pk)',
      ExpressionAttributeValues: { ':expiry': historyEnd() },
    }),
  );
}

/** Releases a host that an evacuation had reserved; the host's state stays. */
export async function endEvacuation(hostId: string, executionArn: string): Promise<void> {
  await unlessConditionFails(
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
