import { Stack } from 'aws-cdk-lib';
import type { TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Effect, ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { REQUEST_ID_PATTERN } from '../../contract/names.ts';

/**
 * What a host is given: a role for its SSM activation, with which it can be sent commands and can touch its own partition of
 * the Mailbox table and nothing else; and the one document it runs.
 */
export class AgentAccess extends Construct {
  readonly hostRole: Role;
  readonly document: CfnDocument;

  constructor(scope: Construct, id: string, props: { mailbox: TableV2 }) {
    super(scope, id);
    const { account, region, partition } = Stack.of(this);
    this.hostRole = new Role(this, 'HostRole', {
      description: 'For the SSM activations of Handoff hosts',
      // The conditions keep the role from being lent to nodes of another account.
      assumedBy: new ServicePrincipal('ssm.amazonaws.com', {
        conditions: {
          StringEquals: { 'aws:SourceAccount': account },
          ArnLike: { 'aws:SourceArn': `arn:${partition}:ssm:${region}:${account}:*` },
        },
      }),
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName('AmazonSSMManagedInstanceCore')],
    });
    this.hostRole.addToPolicy(
      new PolicyStatement({
        sid: 'OwnMailboxOnly',
        effect: Effect.ALLOW,
        actions: ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'],
        resources: [props.mailbox.tableArn],
        conditions: {
          // The session of a managed node is named after it, so aws:userid is `<role id>:<node id>`, its partition's key.
          'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['${aws:userid}'] },
          // ForAllValues holds for an empty set too.
          Null: { 'dynamodb:LeadingKeys': 'false' },
        },
      }),
    );

    this.document = new CfnDocument(this, 'RunStage', {
      documentType: 'Command',
      documentFormat: 'JSON',
      targetType: '/',
      updateMethod: 'NewVersion',
      content: {
        schemaVersion: '2.2',
        description: 'Handoff: runs one stage of a migration on this host. The task itself is in the host’s mailbox.',
        parameters: {
          requestId: {
            type: 'String',
            description: 'Which task to fetch',
            allowedPattern: REQUEST_ID_PATTERN,
            // The value reaches the script as an environment variable and never as text of the script.
            interpolationType: 'ENV_VAR',
          },
        },
        mainSteps: [
          {
            action: 'aws:runShellScript',
            name: 'runStage',
            precondition: { StringEquals: ['platformType', 'Linux'] },
            inputs: {
              // Short stages end well within this; pre-copy leaves its mover behind, and observe-guest its observer, and both return at once.
              timeoutSeconds: '120',
              runCommand: [
                // An agent too old for ENV_VAR leaves it unset: stop, rather than run without it.
                ': "${SSM_requestId:?the SSM agent must be 3.3.2746.0 or later}"',
                `export HANDOFF_MAILBOX_TABLE='${props.mailbox.tableName}'`,
                `export HANDOFF_ROLE_ID='${this.hostRole.roleId}'`,
                `export AWS_REGION='${region}'`,
                'exec handoff-agent run "$SSM_requestId"',
              ],
            },
          },
        ],
      },
    });
  }
}
