import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { HandoffError } from '../../contract/errors.ts';
import { consoleUrl, executionArnOf } from '../platform/execution-names.ts';
import { describeExecution } from '../platform/executions.ts';
import { requireEnv } from '../platform/runtime.ts';
import { evacuationIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

/** The execution's status, and at its end which VMs were moved where, which were not, and why. */
export async function showEvacuation(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const evacuationId = evacuationIdIn(event);
  const executionArn = executionArnOf(requireEnv('EVACUATE_MACHINE'), evacuationId);
  const execution = await describeExecution(executionArn);
  if (execution === undefined) throw new HandoffError('UnknownEvacuation', `No evacuation "${evacuationId}" is known.`);
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
}
