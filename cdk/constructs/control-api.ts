import { HttpApi, HttpMethod } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpIamAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { type FunctionContext, handoffFunction } from './function.ts';
import { grantRecovery, grantTaskAnswers } from './state-machine.ts';

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

interface Props {
  context: FunctionContext;
  migrate: StateMachine;
  recover: StateMachine;
  evacuate: StateMachine;
}

/** The HTTP API and its function. Every route asks IAM, so who may do what is a matter of policies on `execute-api:Invoke`. */
export class ControlApi extends Construct {
  readonly url: string;

  constructor(scope: Construct, id: string, { context, migrate, recover, evacuate }: Props) {
    super(scope, id);
    const handler = handoffFunction(this, context, {
      file: 'api/api.ts',
      description: 'The HTTP API',
      environment: {
        MIGRATE_MACHINE: migrate.stateMachineArn,
        EVACUATE_MACHINE: evacuate.stateMachineArn,
        RECOVER_MACHINE: recover.stateMachineArn,
      },
    });
    context.control.grantReadWriteData(handler);
    context.mailbox.grant(handler, 'dynamodb:UpdateItem', 'dynamodb:Query');
    grantRecovery(handler, recover);
    for (const machine of [migrate, evacuate]) {
      machine.grantStartExecution(handler);
      machine.grantRead(handler);
    }
    grantTaskAnswers(handler);

    const api = new HttpApi(this, 'HttpApi', {
      apiName: 'handoff',
      description: 'Handoff: hosts and migrations',
      defaultAuthorizer: new HttpIamAuthorizer(),
    });
    const integration = new HttpLambdaIntegration('Api', handler);
    for (const [method, path] of ROUTES) api.addRoutes({ path, methods: [method], integration });
    this.url = api.apiEndpoint;
  }
}
