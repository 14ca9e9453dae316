import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { listHosts as readHosts } from '../hosts/hosts.ts';
import { viewOf } from './host-view.ts';
import { json } from './problem.ts';

export async function listHosts(): Promise<APIGatewayProxyStructuredResultV2> {
  return json(200, { hosts: (await readHosts()).map(viewOf) });
}
