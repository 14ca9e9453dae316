import { HandoffError } from '../../contract/errors.ts';
import type { HostAddress } from '../../contract/tasks.ts';
import { HOSTS, hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem } from '../platform/control-table.ts';
import { getItem, getItems, queryAll } from '../platform/dynamo.ts';

/** Fails with UnknownHost. */
export async function getHost(hostId: string): Promise<HostItem> {
  const host = await getItem<HostItem>(CONTROL, hostKey(hostId));
  if (host === undefined) throw unknownHost(hostId);
  return host;
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
  const found = await getItems<HostItem>(CONTROL, [hostKey(source), hostKey(destination)]);
  const one = (hostId: string) => {
    const host = found.find((item) => item.sk === hostId);
    if (host === undefined) throw unknownHost(hostId);
    return host;
  };
  return { source: one(source), destination: one(destination) };
}

export function unknownHost(hostId: string): HandoffError {
  return new HandoffError(
    'UnknownHost',
    `No host "${hostId}" is registered; register it with "handoff register ${hostId}".`,
  );
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
export function listHosts(): Promise<HostItem[]> {
  return queryAll<HostItem>({
    TableName: CONTROL,
    KeyConditionExpression: 'pk = :hosts',
    ExpressionAttributeValues: { ':hosts': HOSTS },
    ConsistentRead: true,
  });
}
