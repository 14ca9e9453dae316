import { HttpApi, HttpMethod } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpIamAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';

export const ROUTES: readonly (readonly [HttpMethod, string])[] = [
  [HttpMethod.GET, '/hosts'],
  [HttpMethod.PUT, '/hosts/{hostId}'],
  [HttpMethod.DELETE, '/hosts/{hostId}'],
  [HttpMethod.POST, '/hosts/{hostId}/evacuate'],
  [HttpMethod.POST, '/hosts/{hostId}/uncordon'],
  [HttpMethod.GET, '/evacuations/{evacuationId}'],
  [HttpMethod.GET, '/migrations'],
  [HttpMethod.POST, '/migrations'],
  [HttpMethod.GET, '/migrations/{migrationId}'],
  [HttpMethod.POST, '/migrations/{migrationId}/cancel'],
  [HttpMethod.POST, '/migrations/{migrationId}/cutover'],
  [HttpMethod.POST, '/migrations/{migrationId}/resolve'],
  [HttpMethod.GET, '/calibration'],
  [HttpMethod.POST, '/audit'],
];

/** The HTTP API. Every route asks IAM, so who may do what is a matter of policies on `execute-api:Invoke`. */
export class ControlApi extends Construct {
  readonly api: HttpApi;

  constructor(scope: Construct, id: string, props: { handler: IFunction }) {
    super(scope, id);
    this.api = new HttpApi(this, 'HttpApi', {
      apiName: 'handoff',
      description: 'Handoff: hosts and migrations',
      defaultAuthorizer: new HttpIamAuthorizer(),
    });
    const integration = new HttpLambdaIntegration('Api', props.handler);
    for (const [method, path] of ROUTES) this.api.addRoutes({ path, methods: [method], integration });
  }
}
