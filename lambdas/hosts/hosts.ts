import { BatchGetCommand, GetCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { HandoffError } from '../../contract/errors.ts';
import type { HostAddress } from '../../contract/tasks.ts';
import { CONTROL, type HostItem, hostKey } from '../platform/control-table.ts';
import { dynamo } from '../platform/runtime.ts';

/** Fails with UnknownHost. */
export async function getHost(hostId: string): Promise<HostItem> {
  const { Item } = await dynamo.send(
    new GetCommand({ TableName: CONTROL, Key: hostKey(hostId), ConsistentRead: true }),
  );
  if (Item === undefined) throw unknownHost(hostId);
  return Item as HostItem;
}

/** Both hosts of a migration, read at once. Fails with UnknownHost. */
export async function getHosts(
  source: string,
  destination: string,
): Promise<{ source: HostItem; destination: HostItem }> {
  if (source === destination) {
    throw new HandoffError(
      'InvalidInput',
      `source and destination are both "${source}"; they must be two different hosts`,
      { detail: { errors: [{ field: 'destination', message: 'must be another host than the source' }] } },
    );
  }
  const { Responses } = await dynamo.send(
    new BatchGetCommand({
      RequestItems: { [CONTROL]: { Keys: [hostKey(source), hostKey(destination)], ConsistentRead: true } },
    }),
  );
  const found = (Responses?.[CONTROL] ?? []) as HostItem[];
  const one = (hostId: string) => {
    const host = found.find((item) => item.sk === hostId);
    if (host === undefined) throw unknownHost(hostId);
    return host;
  };
  return { source: one(source), destination: one(destination) };
}

export function unknownHost(hostId: string): HandoffError {
  return new HandoffError('UnknownHost', `No host "${hostId}" is registered; register it with PUT /hosts/${hostId}.`);
}

export const addressOf = (host: HostItem): HostAddress => ({
  hostId: host.sk,
  address: host.address,
  libvirtUri: host.libvirtUri,
});

/** Whether VMs may be moved to this host. Fails with HostNotAccepting. */
export function mustAccept(destination: HostItem): void {
  if (destination.state === 'ACTIVE') return;
  throw new HandoffError(
    'HostNotAccepting',
    `${destination.sk} is ${destination.state} and takes no VMs; choose another destination or uncordon it.`,
  );
}

/** All registered hosts, by name. They share one partition; a thousand of them are two or three pages. */
export async function listHosts(): Promise<HostItem[]> {
  const hosts: HostItem[] = [];
  let from: Record<string, unknown> | undefined;
  do {
    const page = await dynamo.send(
      new QueryCommand({
        TableName: CONTROL,
        KeyConditionExpression: 'pk = :hosts',
        ExpressionAttributeValues: { ':hosts': 'HOSTS' },
        ConsistentRead: true,
        ...(from !== undefined && { ExclusiveStartKey: from }),
      }),
    );
    hosts.push(...((page.Items ?? []) as HostItem[]));
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return hosts;
}
