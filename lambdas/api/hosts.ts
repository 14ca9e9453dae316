import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HostRegistration, type HostView } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { HostId } from '../../contract/names.ts';
import { listHosts, unknownHost } from '../hosts/hosts.ts';
import { CONTROL, type HostItem, hostKey } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { json } from './problem.ts';

export const hostIdOf = (event: APIGatewayProxyEventV2): string =>
  parse(HostId, event.pathParameters?.hostId, 'hostId');

/** Registers a host, or changes its registration; its state, slots and reservations stay. */
export async function putHost(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdOf(event);
  const registration = parse(HostRegistration, event.body, 'body');
  const twin = (await listHosts()).find((host) => host.sk !== hostId && host.nodeId === registration.nodeId);
  if (twin !== undefined) {
    throw new HandoffError('InvalidInput', `node ${registration.nodeId} is registered as host ${twin.sk} already`, {
      detail: { errors: [{ field: 'nodeId', message: `is host ${twin.sk}'s; one node is one host` }] },
    });
  }
  const { Attributes } = await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: hostKey(hostId),
      UpdateExpression:
        'SET nodeId = :nodeId, address = :address, libvirtUri = :libvirtUri, limits = :limits, ' +
        '#state = if_not_exists(#state, :active), line = if_not_exists(line, :empty), ' +
        'reservations = if_not_exists(reservations, :empty), reservationVersion = if_not_exists(reservationVersion, :zero)',
      ExpressionAttributeNames: { '#state': 'state' },
      ExpressionAttributeValues: {
        ':nodeId': registration.nodeId,
        ':address': registration.address,
        ':libvirtUri': registration.libvirtUri,
        ':limits': registration.limits,
        ':active': 'ACTIVE',
        ':empty': {},
        ':zero': 0,
      },
      ReturnValues: 'ALL_NEW',
    }),
  );
  return json(200, viewOf(Attributes as HostItem));
}

export async function getHosts(): Promise<APIGatewayProxyStructuredResultV2> {
  return json(200, { hosts: (await listHosts()).map(viewOf) });
}

/** Back into use, from CORDONED as well as from IN_MAINTENANCE. An evacuation still at work goes on, and says so at its end. */
export async function uncordon(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdOf(event);
  try {
    const { Attributes } = await dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: hostKey(hostId),
        UpdateExpression: 'SET #state = :active',
        ConditionExpression: 'attribute_exists(pk)',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':active': 'ACTIVE' },
        ReturnValues: 'ALL_NEW',
      }),
    );
    return json(200, viewOf(Attributes as HostItem));
  } catch (error) {
    throw error instanceof ConditionalCheckFailedException ? unknownHost(hostId) : error;
  }
}

export function viewOf(host: HostItem): HostView {
  return {
    hostId: host.sk,
    nodeId: host.nodeId,
    address: host.address,
    libvirtUri: host.libvirtUri,
    limits: host.limits,
    state: host.state,
    outgoing: [...(host.outgoing ?? [])],
    incoming: [...(host.incoming ?? [])],
    reservedMiB: Object.values(host.reservations).reduce((sum, mib) => sum + mib, 0),
  };
}
