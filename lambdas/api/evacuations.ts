import { DescribeExecutionCommand, StartExecutionCommand } from '@aws-sdk/client-sfn';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { EvacuationOptions, type EvacuationRequest } from '../../contract/api.ts';
import { HandoffError } from '../../contract/errors.ts';
import { MigrationId } from '../../contract/names.ts';
import { getHost } from '../hosts/hosts.ts';
import { consoleUrl, executionArnOf } from '../platform/aws-console.ts';
import { parse } from '../platform/parse.ts';
import { requireEnv, sfn, uuid } from '../platform/runtime.ts';
import { hostIdOf } from './hosts.ts';
import { json } from './problem.ts';

export async function evacuate(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const host = hostIdOf(event);
  const options = parse(EvacuationOptions, event.body ?? {}, 'body');
  await getHost(host);
  const stateMachineArn = requireEnv('EVACUATE_MACHINE');
  const evacuationId = `evacuate-${host.slice(0, 50)}-${uuid().replaceAll('-', '').slice(0, 10)}`;
  const request: EvacuationRequest = { host, ...options };
  await sfn.send(new StartExecutionCommand({ stateMachineArn, name: evacuationId, input: JSON.stringify(request) }));
  const executionArn = executionArnOf(stateMachineArn, evacuationId);
  const body = { evacuationId, host, status: 'RUNNING', executionArn, consoleUrl: consoleUrl(executionArn) };
  return json(202, body, { location: `/evacuations/${evacuationId}` });
}

/** How an evacuation goes or went: its execution's status, and at its end which VMs moved where and which did not, and why. */
export async function getEvacuation(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const evacuationId = parse(MigrationId, event.pathParameters?.evacuationId, 'evacuationId');
  const executionArn = executionArnOf(requireEnv('EVACUATE_MACHINE'), evacuationId);
  try {
    const execution = await sfn.send(new DescribeExecutionCommand({ executionArn }));
    return json(200, {
      evacuationId,
      status: execution.status,
      startedAt: execution.startDate?.toISOString(),
      endedAt: execution.stopDate?.toISOString(),
      ...(execution.output !== undefined && { result: JSON.parse(execution.output) }),
      ...(execution.error !== undefined && { failure: { code: execution.error, message: execution.cause } }),
      executionArn,
      consoleUrl: consoleUrl(executionArn),
    });
  } catch (error) {
    if (!(error instanceof Error && error.name === 'ExecutionDoesNotExist')) throw error;
    throw new HandoffError('UnknownEvacuation', `No evacuation "${evacuationId}" is known.`);
  }
}
