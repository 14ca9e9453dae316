import type { Route } from '../http-api/routes.ts';
import { knownProperties, type Resource } from '../template/template.ts';

/** The template's HTTP API, as far as one is there; more than one, and what is not run here, fails by name. */
export interface DeclaredApi {
  apiId: string;
  endpoint: string;
  stage: string;
  routes: Route[];
  /** The function each integration calls, by the integration's id. */
  integrations: Map<string, string>;
}

export function declaredApi(resources: readonly Resource[]): DeclaredApi | undefined {
  const all = (type: string, known: string[]) =>
    resources
      .filter((resource) => resource.type === `AWS::ApiGatewayV2::${type}`)
      .map((resource) => ({ resource, properties: knownProperties(resource, known) }));
  const unsupported = ({ logicalId }: Resource, what: string) =>
    new Error(`The embedded AWS does not implement ${what} of HTTP APIs (resource ${logicalId}).`);

  const [api, ...others] = all('Api', [
    'CorsConfiguration',
    'Description',
    'DisableExecuteApiEndpoint',
    'Name',
    'ProtocolType',
    'Tags',
  ]);
  if (api === undefined) return undefined;
  if (others.length > 0) throw new Error('The embedded AWS runs one HTTP API; the template has several.');
  if (api.properties.ProtocolType !== 'HTTP') throw unsupported(api.resource, 'the protocol WEBSOCKET');
  if (api.properties.CorsConfiguration !== undefined) throw unsupported(api.resource, 'CORS');

  for (const { resource } of all('Authorizer', [])) throw unsupported(resource, 'authorizers other than AWS_IAM');
  const stages = all('Stage', [
    'AccessLogSettings',
    'ApiId',
    'AutoDeploy',
    'DefaultRouteSettings',
    'Description',
    'StageName',
    'Tags',
  ]);
  for (const { resource } of stages)
    if (resource.ref !== '$default') throw unsupported(resource, `the stage ${resource.ref}`);

  const integrations = new Map<string, string>();
  const integrationProperties = [
    'ApiId',
    'Description',
    'IntegrationType',
    'IntegrationUri',
    'PayloadFormatVersion',
    'TimeoutInMillis',
  ];
  for (const { resource, properties } of all('Integration', integrationProperties)) {
    const { IntegrationType: type, PayloadFormatVersion: format } = properties;
    if (type !== 'AWS_PROXY' || format !== '2.0')
      throw unsupported(resource, `integrations of ${type} with payload format ${format}`);
    integrations.set(resource.ref, String(properties.IntegrationUri));
  }
  const routeProperties = ['ApiId', 'AuthorizationType', 'OperationName', 'RouteKey', 'Target'];
  const routes = all('Route', routeProperties).map(({ resource, properties }): Route => {
    const authorization = properties.AuthorizationType ?? 'NONE';
    if (authorization !== 'AWS_IAM') throw unsupported(resource, `the authorization ${authorization}`);
    return {
      routeKey: String(properties.RouteKey),
      integrationId: String(properties.Target).replace(/^integrations\//, ''),
    };
  });
  const endpoint = api.resource.attributes.ApiEndpoint as string;
  return { apiId: api.resource.ref, endpoint, stage: '$default', routes, integrations };
}
