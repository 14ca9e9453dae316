import type { MiddlewareObj } from '@middy/core';
import httpHeaderNormalizer from '@middy/http-header-normalizer';
import httpJsonBodyParser from '@middy/http-json-body-parser';
import httpRouter from '@middy/http-router';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { lambda } from '../platform/function.ts';
import { auditResources } from './audit-resources.ts';
import { cancelMigration } from './cancel-migration.ts';
import { listHosts } from './list-hosts.ts';
import { listMigrations } from './list-migrations.ts';
import { problems } from './problem.ts';
import { registerHost } from './register-host.ts';
import { removeHost } from './remove-host.ts';
import { requestCutover } from './request-cutover.ts';
import { resolveMigration } from './resolve-migration.ts';
import { showCalibration } from './show-calibration.ts';
import { showEvacuation } from './show-evacuation.ts';
import { showMigration } from './show-migration.ts';
import { startEvacuation } from './start-evacuation.ts';
import { startMigration } from './start-migration.ts';
import { uncordonHost } from './uncordon-host.ts';

const route = httpRouter<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>([
  { method: 'PUT', path: '/hosts/{hostId}', handler: registerHost },
  { method: 'DELETE', path: '/hosts/{hostId}', handler: removeHost },
  { method: 'GET', path: '/hosts', handler: listHosts },
  { method: 'POST', path: '/hosts/{hostId}/evacuate', handler: startEvacuation },
  { method: 'POST', path: '/hosts/{hostId}/uncordon', handler: uncordonHost },
  { method: 'GET', path: '/evacuations/{evacuationId}', handler: showEvacuation },
  { method: 'POST', path: '/migrations', handler: startMigration },
  { method: 'GET', path: '/migrations', handler: listMigrations },
  { method: 'GET', path: '/migrations/{migrationId}', handler: showMigration },
  { method: 'POST', path: '/migrations/{migrationId}/cancel', handler: cancelMigration },
  { method: 'POST', path: '/migrations/{migrationId}/cutover', handler: requestCutover },
  { method: 'POST', path: '/migrations/{migrationId}/resolve', handler: resolveMigration },
  { method: 'GET', path: '/calibration', handler: showCalibration },
  { method: 'POST', path: '/audit', handler: auditResources },
]);

const parseBody = httpJsonBodyParser().before!;
/** An empty body is not parsed: some clients send a content type without a body. */
const jsonBody: MiddlewareObj<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2> = {
  before: async (request) => (request.event.body ? parseBody(request as Parameters<typeof parseBody>[0]) : undefined),
};

/** The HTTP API, a file for each route. IAM has authorized the caller before; the routes check parameters and bodies. */
export const handler = lambda<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>(route)
  .use(httpHeaderNormalizer())
  .use(jsonBody)
  .use(problems);
