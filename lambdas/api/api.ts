import type { MiddlewareObj } from '@middy/core';
import httpHeaderNormalizer from '@middy/http-header-normalizer';
import httpJsonBodyParser from '@middy/http-json-body-parser';
import httpRouter from '@middy/http-router';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { lambda } from '../platform/function.ts';
import { audit } from './audit.ts';
import { getCalibration } from './calibration.ts';
import { cancelMigration } from './cancel-migration.ts';
import { cutOver } from './cut-over.ts';
import { evacuate, getEvacuation } from './evacuations.ts';
import { getHosts, putHost, uncordon } from './hosts.ts';
import { problems } from './problem.ts';
import { removeHost } from './remove-host.ts';
import { resolveMigration } from './resolve-migration.ts';
import { getMigration, listMigrations } from './show-migrations.ts';
import { startMigration } from './start-migration.ts';

const route = httpRouter<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>([
  { method: 'PUT', path: '/hosts/{hostId}', handler: putHost },
  { method: 'DELETE', path: '/hosts/{hostId}', handler: removeHost },
  { method: 'GET', path: '/hosts', handler: getHosts },
  { method: 'POST', path: '/hosts/{hostId}/evacuate', handler: evacuate },
  { method: 'POST', path: '/hosts/{hostId}/uncordon', handler: uncordon },
  { method: 'GET', path: '/evacuations/{evacuationId}', handler: getEvacuation },
  { method: 'POST', path: '/migrations', handler: startMigration },
  { method: 'GET', path: '/migrations', handler: listMigrations },
  { method: 'GET', path: '/migrations/{migrationId}', handler: getMigration },
  { method: 'POST', path: '/migrations/{migrationId}/cancel', handler: cancelMigration },
  { method: 'POST', path: '/migrations/{migrationId}/cutover', handler: cutOver },
  { method: 'POST', path: '/migrations/{migrationId}/resolve', handler: resolveMigration },
  { method: 'GET', path: '/calibration', handler: getCalibration },
  { method: 'POST', path: '/audit', handler: audit },
]);

const parseBody = httpJsonBodyParser().before!;
/** Only what is there is parsed: some clients send a content type without a body. */
const jsonBody: MiddlewareObj<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2> = {
  before: async (request) => (request.event.body ? parseBody(request as Parameters<typeof parseBody>[0]) : undefined),
};

/** The HTTP API. Callers are authorized by IAM before they come here; bodies are checked by the routes. */
export const handler = lambda<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>(route)
  .use(httpHeaderNormalizer())
  .use(jsonBody)
  .use(problems);
