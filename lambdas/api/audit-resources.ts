import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { AuditRequest } from '../../contract/api.ts';
import { parse } from '../platform/parse.ts';
import { auditResources as findLeaks } from '../recovery/resource-audit.ts';
import { json } from './problem.ts';

/** Finds everything that is held and should not be, and with `repair` releases what is proven to be a leak. */
export async function auditResources(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const { repair } = parse(AuditRequest, event.body ?? {}, 'body');
  return json(200, { findings: await findLeaks({ repair, commitRecords: true }) });
}
