import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { EvacuationOptions, type EvacuationRequest } from '../../contract/api.ts';
import { newEvacuationId } from '../../contract/names.ts';
import { getHost } from '../hosts/hosts.ts';
import { consoleUrl } from '../platform/execution-names.ts';
import { startExecution } from '../platform/executions.ts';
import { parse } from '../platform/parse.ts';
import { requireEnv, uuid } from '../platform/runtime.ts';
import { hostIdIn } from './path-parameters.ts';
import { json } from './problem.ts';

export async function startEvacuation(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const host = hostIdIn(event);
  const options = parse(EvacuationOptions, event.body ?? {}, 'body');
  await getHost(host);
  const evacuationId = newEvacuationId(host, uuid());
  const request: EvacuationRequest = { host, ...options };
  const { executionArn } = await startExecution(requireEnv('EVACUATE_MACHINE'), evacuationId, request);
  const body = { evacuationId, host, status: 'RUNNING', executionArn, consoleUrl: consoleUrl(executionArn) };
  return json(202, body, { location: `/evacuations/${evacuationId}` });
}
