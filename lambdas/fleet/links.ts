import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { KnownLink } from '../../contract/forecast.ts';
import { linkKey } from '../platform/control-keys.ts';
import { CONTROL, historyEnd, type LinkItem, type MigrationItem } from '../platform/control-table.ts';
import { getItem, unlessConditionFails } from '../platform/dynamo.ts';
import { dynamo, now } from '../platform/runtime.ts';

/** The last known bandwidth from one host to another, for a preflight that cannot measure it. */
export async function knownLink(source: string, destination: string): Promise<KnownLink | undefined> {
  const link = await getItem<LinkItem>(CONTROL, linkKey(source, destination));
  if (link === undefined) return undefined;
  const { bytesPerSecond, at } = link;
  return { bytesPerSecond, ageSeconds: Math.max(0, Math.round((now() - Date.parse(at)) / 1_000)) };
}

/**
 * Stores the bandwidth that an ended migration has shown: what its preflight measured, and what its copy achieved where that is more.
 * A copy may have had reasons of its own to be slower (a limit, the brake, a guest with little to send). A repetition changes nothing.
 */
export async function learnLink({ source, destination, ...record }: MigrationItem): Promise<void> {
  const { measured, admittedAt, endedAt, result } = record;
  const key = linkKey(source, destination);
  if (measured?.linkSource === 'measured' && admittedAt !== undefined) {
    await storeBandwidth(
      key,
      { bytesPerSecond: measured.linkBytesPerSecond, at: admittedAt },
      'attribute_not_exists(pk) OR #at < :at',
    );
  }
  if (result?.activeMs !== undefined && result.bytesTransferred !== undefined && endedAt !== undefined) {
    const bytesPerSecond = Math.round((result.bytesTransferred / Math.max(1, result.activeMs)) * 1_000);
    await storeBandwidth(key, { bytesPerSecond, at: endedAt }, '#rate < :rate');
  }
}

async function storeBandwidth(
  key: ReturnType<typeof linkKey>,
  { bytesPerSecond, at }: Pick<LinkItem, 'bytesPerSecond' | 'at'>,
  condition: string,
): Promise<void> {
  await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: key,
        UpdateExpression: 'SET #rate = :rate, #at = :at, expiresAt = :expiry',
        ConditionExpression: condition,
        ExpressionAttributeNames: { '#rate': 'bytesPerSecond', '#at': 'at' },
        ExpressionAttributeValues: { ':rate': bytesPerSecond, ':at': at, ':expiry': historyEnd() },
      }),
    ),
  );
}
