import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { KnownLink } from '../../contract/forecast.ts';
import { CONTROL, HISTORY_SECONDS, type LinkItem, linkKey, type MigrationItem } from '../platform/control-table.ts';
import { dynamo, now } from '../platform/runtime.ts';

/** What is known of the way from one host to another, for a preflight that can't measure it. */
export async function knownLink(source: string, destination: string): Promise<KnownLink | undefined> {
  const { Item } = await dynamo.send(new GetCommand({ TableName: CONTROL, Key: linkKey(source, destination) }));
  if (Item === undefined) return undefined;
  const { bytesPerSecond, at } = Item as LinkItem;
  return { bytesPerSecond, ageSeconds: Math.max(0, Math.round((now() - Date.parse(at)) / 1_000)) };
}

/**
 * Keeps what an ended migration has shown of its link: what its preflight measured, and what its copy achieved where that is more. A
 * copy may have had reasons of its own to be slower (a limit, the brake, a guest with little to send). Doing so again changes nothing.
 */
export async function learnLink({ source, destination, ...record }: MigrationItem): Promise<void> {
  const { measured, admittedAt, endedAt, result } = record;
  const key = linkKey(source, destination);
  if (measured?.linkSource === 'measured' && admittedAt !== undefined) {
    await keep(
      key,
      { bytesPerSecond: measured.linkBytesPerSecond, at: admittedAt },
      'attribute_not_exists(pk) OR #at < :at',
    );
  }
  if (result?.activeMs !== undefined && result.bytesTransferred !== undefined && endedAt !== undefined) {
    const bytesPerSecond = Math.round((result.bytesTransferred / Math.max(1, result.activeMs)) * 1_000);
    await keep(key, { bytesPerSecond, at: endedAt }, '#rate < :rate');
  }
}

async function keep(
  key: ReturnType<typeof linkKey>,
  { bytesPerSecond, at }: Pick<LinkItem, 'bytesPerSecond' | 'at'>,
  condition: string,
): Promise<void> {
  try {
    await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: key,
        UpdateExpression: 'SET #rate = :rate, #at = :at, expiresAt = :expiry',
        ConditionExpression: condition,
        ExpressionAttributeNames: { '#rate': 'bytesPerSecond', '#at': 'at' },
        ExpressionAttributeValues: {
          ':rate': bytesPerSecond,
          ':at': at,
          ':expiry': Math.floor(now() / 1_000) + HISTORY_SECONDS,
        },
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
