import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { EvacuationRequest } from '../../contract/api.ts';
import { getHost, unknownHost } from '../hosts/hosts.ts';
import { hostKey } from '../platform/control-keys.ts';
import { CONTROL, type HostItem } from '../platform/control-table.ts';
import { unlessConditionFails } from '../platform/dynamo.ts';
import { describeExecution } from '../platform/executions.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';

const Input = z.object({ executionArn: z.string(), request: z.unknown() });

/**
 * Cordons the host, so that no VM is moved to it, and reserves the host for this execution. Events are delivered at least once:
 * a second evacuation of the same host changes nothing while the first one runs, and answers with the ARN of the first.
 */
export const handler = lambda(async (event: unknown) => {
  const { executionArn, request: raw } = parse(Input, event, 'evacuation');
  const request = parse(EvacuationRequest, raw, 'evacuation');
  const host = await getHost(request.host);
  if (host.evacuation !== undefined && host.evacuation !== executionArn && (await running(host.evacuation))) {
    return { begun: false, host: request.host, duplicateOf: host.evacuation };
  }
  const taken = await cordon(request.host, executionArn, host.evacuation);
  // Another evacuation was faster by a moment.
  if (taken.evacuation !== executionArn) return { begun: false, host: request.host, duplicateOf: taken.evacuation };
  return { begun: true, host: request.host, policy: request.policy, reason: request.reason ?? 'evacuation' };
});

const running = async (executionArn: string): Promise<boolean> =>
  (await describeExecution(executionArn))?.status === 'RUNNING';

async function cordon(hostId: string, executionArn: string, previous: string | undefined): Promise<HostItem> {
  const written = await unlessConditionFails(
    dynamo.send(
      new UpdateCommand({
        TableName: CONTROL,
        Key: hostKey(hostId),
        UpdateExpression: 'SET #state = :cordoned, evacuation = :me',
        ConditionExpression:
          'attribute_exists(pk) AND (attribute_not_exists(evacuation) OR evacuation IN (:me, :previous))',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: {
          ':cordoned': 'CORDONED',
          ':me': executionArn,
          ':previous': previous ?? executionArn,
        },
        ReturnValues: 'ALL_NEW',
      }),
    ),
  );
  if (written !== undefined) return written.Attributes as HostItem;
  const host = await getHost(hostId);
  if (host.evacuation === undefined) throw unknownHost(hostId);
  return host;
}
