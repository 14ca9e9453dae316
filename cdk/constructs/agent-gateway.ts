import { Stack } from 'aws-cdk-lib';
import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { FilterCriteria, FilterRule, type IFunction, StartingPosition } from 'aws-cdk-lib/aws-lambda';
import { DynamoEventSource, SqsDlq } from 'aws-cdk-lib/aws-lambda-event-sources';
import type { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { REPORT_PREFIX } from '../../contract/mailbox.ts';
import { type DeadLetters, EVENT_RETRIES } from './dead-letters.ts';
import { type FunctionContext, handoffFunction } from './function.ts';
import { grantTaskAnswers } from './state-machine.ts';

interface Props {
  context: FunctionContext;
  document: CfnDocument;
  deadLetters: DeadLetters;
}

/** Between state machines and agents: tasks on their way to the hosts, reports on their way back, commands that could not run. */
export class AgentGateway extends Construct {
  readonly dispatch: IFunction;

  constructor(scope: Construct, id: string, { context, document, deadLetters }: Props) {
    super(scope, id);
    const { control, mailbox } = context;

    const dispatch = handoffFunction(this, context, {
      file: 'agent-gateway/dispatch.ts',
      description: 'Sends the task of one stage to one host',
      environment: { AGENT_DOCUMENT: document.ref },
    });
    control.grantReadWriteData(dispatch);
    mailbox.grant(dispatch, 'dynamodb:GetItem', 'dynamodb:PutItem');
    const stack = Stack.of(this);
    dispatch.addToRolePolicy(
      new PolicyStatement({
        sid: 'OnlyOurDocumentOnManagedNodes',
        actions: ['ssm:SendCommand'],
        resources: [
          stack.formatArn({ service: 'ssm', resource: 'document', resourceName: document.ref }),
          stack.formatArn({ service: 'ssm', resource: 'managed-instance', resourceName: 'mi-*' }),
          stack.formatArn({ service: 'ec2', resource: 'instance', resourceName: 'i-*' }),
        ],
      }),
    );
    grantTaskAnswers(dispatch);
    this.dispatch = dispatch;

    const relay = handoffFunction(this, context, {
      file: 'agent-gateway/relay.ts',
      description: 'Passes hosts’ reports to the state machines',
    });
    control.grantReadWriteData(relay);
    mailbox.grant(relay, 'dynamodb:UpdateItem');
    grantTaskAnswers(relay);
    relay.addEventSource(
      new DynamoEventSource(mailbox as ITable, {
        startingPosition: StartingPosition.TRIM_HORIZON,
        batchSize: 100,
        // One host's reports keep their order; other hosts' need not wait for them.
        parallelizationFactor: 10,
        bisectBatchOnError: true,
        reportBatchItemFailures: true,
        retryAttempts: 10,
        onFailure: new SqsDlq(deadLetters.queue('Reports')),
        filters: [FilterCriteria.filter({ dynamodb: { Keys: { sk: { S: FilterRule.beginsWith(REPORT_PREFIX) } } } })],
      }),
    );

    const onCommandEnded = handoffFunction(this, context, {
      file: 'agent-gateway/on-command-ended.ts',
      description: 'Fails requests whose SSM command could not run',
    });
    control.grantReadWriteData(onCommandEnded);
    grantTaskAnswers(onCommandEnded);
    new Rule(this, 'CommandFailed', {
      description: 'An SSM command of Handoff did not succeed',
      eventPattern: {
        source: ['aws.ssm'],
        detailType: ['EC2 Command Status-change Notification'],
        detail: {
          'document-name': [document.ref],
          status: [{ 'anything-but': ['Pending', 'InProgress', 'Delayed', 'Cancelling', 'Success'] }],
        },
      },
      targets: [
        new LambdaFunction(onCommandEnded, { deadLetterQueue: deadLetters.queue('CommandEvents'), ...EVENT_RETRIES }),
      ],
    });
  }
}
