import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HostRegistration } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { listHosts } from '../hosts/hosts.ts';
import { hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { viewOf } from './host-view.ts';
import { hostIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/** Registers a host, or changes its registration; its state, slots and reservations stay. */
export async function registerHost(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdIn(event);
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
        '#state = if_not_exists(#state, :active), queue = if_not_exists(queue, :empty), ' +
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
