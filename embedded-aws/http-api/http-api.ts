import { type Clock, within } from '../../common/clock.ts';
import { AwsError, type Caller, type Json, type RequiredPermission } from '../core/service.ts';
import type { WireRequest, WireResponse } from '../endpoint/wire-format.ts';
import type { InvokeResult } from '../lambda/lambda.ts';
import { gatewayResponse, httpResponse, lambdaEvent } from './payload.ts';
import { matchRoute, type Route } from './routes.ts';

export interface HttpApiOptions {
  clock: Clock;
  uuid: () => string;
  region: string;
  account: string;
  /** Throws when the caller may not. */
  authorize: (caller: Caller, permission: RequiredPermission) => void;
  invoke: (functionArn: string, payload: Json) => Promise<InvokeResult>;
  apiId: string;
  stage: string;
  routes: readonly Route[];
  /** The function each integration calls, by the integration's id. */
  integrations: ReadonlyMap<string, string>;
}

// An HTTP API waits no longer for its integration.
const INTEGRATION_TIMEOUT_MS = 30_000;

/** API Gateway's HTTP API: finds the route, asks IAM, and has the route's function answer. */
export function createHttpApi(options: HttpApiOptions) {
  const { apiId, stage, account, clock } = options;
  for (const { routeKey, integrationId } of options.routes) {
    if (!options.integrations.has(integrationId)) throw new Error(`The route ${routeKey} has no integration.`);
  }

  return async function handle(request: WireRequest, caller: Caller): Promise<WireResponse> {
    const match = matchRoute(options.routes, request.method, request.path);
    if (match === undefined) return gatewayResponse(404, 'Not Found');
    if (!mayInvoke(request, caller)) return gatewayResponse(403, 'Forbidden');
    const functionArn = options.integrations.get(match.route.integrationId) as string;
    const context = { apiId, account, stage, requestId: options.uuid(), now: clock.now() };
    const invoked = options.invoke(functionArn, lambdaEvent(request, match, caller, context));
    const result = await within(clock, INTEGRATION_TIMEOUT_MS, invoked, () => undefined);
    if (result === undefined) return gatewayResponse(503, 'Service Unavailable');
    const response = result.error === undefined ? httpResponse(result.payload) : undefined;
    return response ?? gatewayResponse(500, 'Internal Server Error');
  };

  function mayInvoke({ method, path }: WireRequest, caller: Caller): boolean {
    const resource = `arn:aws:execute-api:${options.region}:${account}:${apiId}/${stage}/${method}${path}`;
    try {
      options.authorize(caller, { action: 'execute-api:Invoke', resource });
      return true;
    } catch (error) {
      if (error instanceof AwsError) return false;
      throw error;
    }
  }
}
