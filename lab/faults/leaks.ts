import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { MigrationView } from '../../contract/api.ts';
import { commitRecordKey, mailboxOf } from '../../contract/mailbox.ts';
import type { JsonObject } from '../../embedded-aws/core/service.ts';
import { HOSTS, lockKey } from '../../lambdas/platform/control-keys.ts';
import type { ManagedLab } from '../managed-lab.ts';

type Item = Record<string, unknown>;

/**
 * What a migration that has ended still holds and must not: slots, its cutover slot, its queue position, reserved memory, the lock, an
 * open commit record. A migration that needs an operator must hold the lock, and nothing else.
 */
export async function leaksOf(managed: ManagedLab, { migrationId, vm, status }: MigrationView): Promise<string[]> {
  const { ControlTable: control, MailboxTable: mailbox } = managed.aws.outputs;
  const hosts = await items(managed, control, { pk: HOSTS });
  const held = hosts.flatMap((host) =>
    [
      ['outgoing slot', (host.outgoing as Set<string> | undefined)?.has(migrationId)],
      ['incoming slot', (host.incoming as Set<string> | undefined)?.has(migrationId)],
      ['cutover slot', (host.cutovers as Set<string> | undefined)?.has(migrationId)],
      ['queue position', migrationId in (host.queue as Item)],
      ['memory reservation', migrationId in (host.reservations as Item)],
    ].flatMap(([what, isHeld]) => (isHeld === true ? [`${what} on ${host.sk}`] : [])),
  );
  const [lock] = await items(managed, control, lockKey(vm));
  const mustBeLocked = status === 'NEEDS_OPERATOR';
  if ((lock !== undefined) !== mustBeLocked) held.push(mustBeLocked ? 'the lock is gone' : 'lock');
  for (const host of managed.lab.hosts) {
    const partition = mailboxOf(String(managed.aws.outputs.HostRoleId), managed.nodeIdOf(host));
    const [commitRecord] = await items(managed, mailbox, commitRecordKey(partition, migrationId));
    if (commitRecord?.state === 'OPEN') held.push('open commit record');
  }
  return held;
}

/** The item of a key, or all items of a partition. */
async function items(
  { aws }: ManagedLab,
  table: string | undefined,
  { pk, sk }: { pk: string; sk?: string },
): Promise<Item[]> {
  const input: JsonObject = {
    TableName: table ?? '',
    ConsistentRead: true,
    KeyConditionExpression: sk === undefined ? 'pk = :pk' : 'pk = :pk AND sk = :sk',
    ExpressionAttributeValues: { ':pk': { S: pk }, ...(sk !== undefined && { ':sk': { S: sk } }) },
  };
  const { Items } = await aws.callAws('dynamodb', 'Query', input, aws.adminCaller);
  return (Items as unknown as Parameters<typeof unmarshall>[0][]).map((each) => unmarshall(each));
}
