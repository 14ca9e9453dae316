import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { App, ArnFormat, CfnOutput, Stack } from 'aws-cdk-lib';
import { HttpApi, HttpMethod } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpIamAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { AttributeType, type ITable, StreamViewType, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction, SfnStateMachine, SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Code, FilterCriteria, FilterRule, Function as Fn, Runtime, StartingPosition } from 'aws-cdk-lib/aws-lambda';
import { DynamoEventSource, SqsDlq } from 'aws-cdk-lib/aws-lambda-event-sources';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { DefinitionBody, StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { buildSync } from 'esbuild';

/**
 * A stack with every kind of wire the embedded AWS has to follow: an API that starts a state machine, a function that sends
 * a node a command and waits for its answer, the node's report in a table whose stream answers, and rules.
 */
export function synthesizeOrders(folder: string): string {
  const bundle = `${folder}/bundle`;
  buildSync({
    entryPoints: [fileURLToPath(new URL('functions/orders.ts', import.meta.url))],
    outfile: `${bundle}/index.mjs`,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    mainFields: ['module', 'main'],
    banner: { js: "import { createRequire } from 'node:module';const require = createRequire(import.meta.url);" },
  });
  const outdir = `${folder}/cdk.out`;
  const app = new App({ outdir, analyticsReporting: false });
  const stack = new Stack(app, 'Orders');

  const table = new TableV2(stack, 'Table', {
    partitionKey: { name: 'pk', type: AttributeType.STRING },
    sortKey: { name: 'sk', type: AttributeType.STRING },
    dynamoStream: StreamViewType.NEW_IMAGE,
  });
  const hostRole = new Role(stack, 'HostRole', { assumedBy: new ServicePrincipal('ssm.amazonaws.com') });
  hostRole.addToPolicy(
    new PolicyStatement({
      actions: ['dynamodb:UpdateItem'],
      resources: [table.tableArn],
      conditions: { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['${aws:userid}'] } },
    }),
  );
  const document = new CfnDocument(stack, 'Work', {
    documentType: 'Command',
    content: {
      schemaVersion: '2.2',
      parameters: { requestId: { type: 'String', interpolationType: 'ENV_VAR' } },
      mainSteps: [{ action: 'aws:runShellScript', name: 'work', inputs: { runCommand: [`work ${table.tableName}`] } }],
    },
  });
  const machineName = 'orders';
  const machineArn = stack.formatArn({
    service: 'states',
    resource: 'stateMachine',
    resourceName: machineName,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
  const code = Code.fromAsset(bundle);
  const fn = (name: string) =>
    new Fn(stack, name, {
      code,
      handler: `index.${name.toLowerCase()}`,
      runtime: Runtime.NODEJS_24_X,
      environment: {
        TABLE: table.tableName,
        DOCUMENT: document.ref,
        MACHINE: machineArn,
        HOST_ROLE_ID: hostRole.roleId,
      },
    });

  const dispatch = fn('Dispatch');
  table.grant(dispatch, 'dynamodb:PutItem');
  dispatch.addToRolePolicy(new PolicyStatement({ actions: ['ssm:SendCommand'], resources: ['*'] }));
  const machine = new StateMachine(stack, 'Machine', {
    stateMachineName: machineName,
    definitionBody: DefinitionBody.fromString(
      stack.toJsonString({
        QueryLanguage: 'JSONata',
        StartAt: 'Work',
        States: {
          Work: {
            Type: 'Task',
            Resource: 'arn:aws:states:::lambda:invoke.waitForTaskToken',
            Arguments: {
              FunctionName: dispatch.functionArn,
              Payload: {
                id: '{% $states.context.Execution.Name %}',
                node: '{% $states.input.node %}',
                token: '{% $states.context.Task.Token %}',
              },
            },
            TimeoutSeconds: 300,
            End: true,
          },
        },
      }),
    ),
  });
  dispatch.grantInvoke(machine);

  const answers = new PolicyStatement({ actions: ['states:SendTask*'], resources: [machineArn] });
  const relay = fn('Relay');
  table.grant(relay, 'dynamodb:GetItem');
  relay.addToRolePolicy(answers);
  relay.addEventSource(
    new DynamoEventSource(table as ITable, {
      startingPosition: StartingPosition.TRIM_HORIZON,
      retryAttempts: 1,
      onFailure: new SqsDlq(new Queue(stack, 'DeadReports')),
      filters: [FilterCriteria.filter({ dynamodb: { Keys: { sk: { S: FilterRule.beginsWith('REPORT#') } } } })],
    }),
  );
  const watch = fn('Watch');
  table.grant(watch, 'dynamodb:GetItem');
  watch.addToRolePolicy(answers);
  new Rule(stack, 'CommandFailed', {
    eventPattern: {
      source: ['aws.ssm'],
      detailType: ['EC2 Command Status-change Notification'],
      detail: { status: ['Failed', 'TimedOut'] },
    },
    targets: [new LambdaFunction(watch)],
  });
  new Rule(stack, 'OrderEnded', {
    eventPattern: { source: ['aws.states'], detail: { status: ['SUCCEEDED', 'FAILED'] } },
    targets: [new SqsQueue(new Queue(stack, 'Ended'))],
  });
  new Rule(stack, 'OrderAsked', {
    eventPattern: { source: ['orders'] },
    targets: [new SfnStateMachine(machine, { deadLetterQueue: new Queue(stack, 'DeadAsks') })],
  });

  const api = fn('Api');
  table.grant(api, 'dynamodb:GetItem');
  machine.grantStartExecution(api);
  const http = new HttpApi(stack, 'HttpApi', { defaultAuthorizer: new HttpIamAuthorizer() });
  http.addRoutes({
    path: '/orders/{id}',
    methods: [HttpMethod.GET, HttpMethod.POST],
    integration: new HttpLambdaIntegration('Orders', api),
  });
  fn('Intruder');
  new CfnOutput(stack, 'ApiUrl', { value: http.apiEndpoint });
  new CfnOutput(stack, 'MachineArn', { value: machine.stateMachineArn });
  new CfnOutput(stack, 'TableName', { value: table.tableName });
  app.synth();
  rmSync(bundle, { recursive: true });
  return outdir;
}
