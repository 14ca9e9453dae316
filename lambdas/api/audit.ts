import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { AuditRequest } from '../../contract/api.ts';
import { parse } from '../platform/parse.ts';
import { auditHoldings } from '../recovery/resource-audit.ts';
import { json } from './problem.ts';

/** Looks for everything that is held and should not be, and gives back what is proven to be a leak when asked to. */
export async function audit(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const { repair } = parse(AuditRequest, event.body ?? {}, 'body');
  return json(200, { findings: await auditHoldings({ repair, commitRecords: true }) });
}
