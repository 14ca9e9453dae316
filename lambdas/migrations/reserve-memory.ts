import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';
import { HostId, MigrationId } from '../../contract/names.ts';
import { getHost } from '../hosts/hosts.ts';
import { hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem } from '../platform/control-table.ts';
import { attempts, unlessConditionFails } from '../platform/dynamo.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';

const Input = z.object({
  migrationId: MigrationId,
  destination: HostId,
  memoryMiB: z.number().positive(),
  /** Free memory the destination measured in preflight. */
  freeMemoryMiB: z.number(),
});

const MOST_ATTEMPTS = 10;

/**
 * Promises the destination's memory to this migration. Preflight counted other migrations' promises already; this closes
 * the gap between two preflights that saw the same free memory at the same time. A migration under way is counted in full
 * although part of its memory is in use already, so the sum errs on the safe side.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId, destination, memoryMiB, freeMemoryMiB } = parse(Input, event, 'reservation');
  const reserved = await attempts(async () => {
    const host = await getHost(destination);
    const others = Object.entries(host.reservations).filter(([id]) => id !== migrationId);
    const promised = others.reduce((sum, [, mib]) => sum + mib, 0);
    if (promised + memoryMiB > freeMemoryMiB) {
      throw new HandoffError(
        'MemoryTaken',
        `${destination} has ${freeMemoryMiB} MiB free, of which ${promised} MiB are promised to ${others.length} other ` +
          `migration(s); ${memoryMiB} MiB are needed. Wait for them to end, or choose another destination.`,
      );
    }
    return reserve(host, migrationId, memoryMiB);
  }, MOST_ATTEMPTS);
  if (reserved === undefined) throw new Error(`Other migrations reserved memory of ${destination} at the same time.`);
  return { reservedMiB: memoryMiB };
});

/** Undefined when another migration has reserved memory of this host since it was read. */
const reserve = ({ sk, reservationVersion }: HostItem, migrationId: string, memoryMiB: number) =>
  unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: hostKey(sk),
        UpdateExpression: 'SET reservations.#id = :mib, reservationVersion = :next',
        ConditionExpression: 'reservationVersion = :read',
        ExpressionAttributeNames: { '#id': migrationId },
        ExpressionAttributeValues: {
          ':mib': memoryMiB,
          ':read': reservationVersion,
          ':next': reservationVersion + 1,
        },
      }),
    ),
  );
