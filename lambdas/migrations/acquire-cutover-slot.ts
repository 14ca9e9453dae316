import { z } from 'zod';
import { HandoffError } from '../../contract/errors.ts';
import { MigrationId } from '../../contract/names.ts';
import { getHosts } from '../hosts/hosts.ts';
import { hostKey, migrationKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem, type MigrationItem } from '../platform/control-table.ts';
import { transact } from '../platform/dynamo.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { getRecord, unknownMigration } from './migration-record.ts';

const Input = z.object({ migrationId: MigrationId });

/**
 * Pre-copies may be many, cutovers are few: they share the hosts' links and CPUs while a guest stands still. A migration acquires a
 * cutover slot on both hosts at once. Until both are free, and a manual cutover has been requested, the copy stays held. Fails with
 * NotYet, for the state machine to try again. A repetition, after an answer that was lost, finds its own slots.
 */
export const handler = lambda(async (event: unknown) => {
  const { migrationId } = parse(Input, event, 'cutover slot');
  const record = await getRecord(migrationId);
  if (record === undefined) throw unknownMigration(migrationId, 'it has not been admitted');
  mustNotBeCancelled(record);
  if (record.policy.cutover === 'manual' && record.cutoverRequestedAt === undefined) {
    throw new HandoffError('NotYet', `Held until "handoff cutover ${migrationId}".`);
  }
  const { source, destination } = await getHosts(record.source, record.destination);
  const notCancelled = {
    name: 'record',
    write: {
      ConditionCheck: {
        TableName: CONTROL,
        Key: migrationKey(migrationId),
        ConditionExpression: 'attribute_not_exists(cancelRequestedAt)',
      },
    },
  };
  const refused = await transact([notCancelled, slot(source, migrationId), slot(destination, migrationId)]);
  if (refused.includes('record')) mustNotBeCancelled({ ...record, cancelRequestedAt: 'since' });
  if (refused.length > 0) {
    throw new HandoffError('NotYet', `Held; all cutover slots of ${refused.join(' and ')} are taken.`);
  }
  return { acquired: true };
});

function mustNotBeCancelled(record: MigrationItem): void {
  if (record.cancelRequestedAt !== undefined) throw new HandoffError('Cancelled', 'Cancelled on request.');
}

const slot = (host: HostItem, migrationId: string) => ({
  name: host.sk,
  write: {
    Update: {
      TableName: CONTROL,
      Key: hostKey(host.sk),
      UpdateExpression: 'ADD cutovers :me',
      ConditionExpression: 'attribute_not_exists(cutovers) OR size(cutovers) < :limit OR contains(cutovers, :id)',
      ExpressionAttributeValues: {
        ':me': new Set([migrationId]),
        ':id': migrationId,
        ':limit': host.limits.cutovers,
      },
    },
  },
});
