import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { unknownHost } from '../hosts/hosts.ts';
import { hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { dynamo } from '../platform/runtime.ts';
import { viewOf } from './host-view.ts';
import { hostIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/** Back to ACTIVE, from CORDONED as well as from IN_MAINTENANCE. A running evacuation continues, and reports the uncordon at its end. */
export async function uncordonHost(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const hostId = hostIdIn(event);
  const written = await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: hostKey(hostId),
        UpdateExpression: 'SET #state = :active',
        ConditionExpression: 'attribute_exists(pk)',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':active': 'ACTIVE' },
        ReturnValues: 'ALL_NEW',
      }),
    ),
  );
  if (written === undefined) throw unknownHost(hostId);
  return json(200, viewOf(written.Attributes as HostItem));
}
