import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { AgentAccess } from './constructs/agent-access.ts';
import { AgentGateway } from './constructs/agent-gateway.ts';
import { Alarms } from './constructs/alarms.ts';
import { ControlApi } from './constructs/control-api.ts';
import { DeadLetters } from './constructs/dead-letters.ts';
import { Evacuations } from './constructs/evacuations.ts';
import type { FunctionContext } from './constructs/function.ts';
import { Migrations } from './constructs/migrations.ts';
import { Recovery } from './constructs/recovery.ts';
import { Settlement } from './constructs/settlement.ts';
import { Tables } from './constructs/tables.ts';

/** The functions' metrics have it as a dimension. */
const SERVICE = 'handoff';

/** The whole control plane. */
export class HandoffStack extends Stack {
  constructor(scope: Construct, id: string, props?: StackProps) {
    super(scope, id, props);
    const { control, mailbox } = new Tables(this, 'Tables');
    const { hostRole, document } = new AgentAccess(this, 'Agent', { mailbox });
    const deadLetters = new DeadLetters(this, 'Dead');
    const context: FunctionContext = {
      control,
      mailbox,
      environment: {
        CONTROL_TABLE: control.tableName,
        MAILBOX_TABLE: mailbox.tableName,
        HOST_ROLE_ID: hostRole.roleId,
        POWERTOOLS_SERVICE_NAME: SERVICE,
      },
    };

    const { dispatch } = new AgentGateway(this, 'AgentGateway', { context, document, deadLetters });
    const settlement = new Settlement(this, 'Settlement', { context, dispatch });
    const { machine: migrate } = new Migrations(this, 'Migrations', { context, settlement });
    const { machine: evacuate } = new Evacuations(this, 'Evacuations', { context, dispatch, migrate, deadLetters });
    const { machine: recover } = new Recovery(this, 'Recovery', {
      context,
      settlement,
      migrate,
      evacuate,
      deadLetters,
    });
    const api = new ControlApi(this, 'ControlApi', { context, migrate, recover, evacuate });
    const { topic } = new Alarms(this, 'Alarms', { service: SERVICE, deadLetters: deadLetters.queues });

    new CfnOutput(this, 'ApiUrl', { value: api.url });
    new CfnOutput(this, 'HostRoleName', { value: hostRole.roleName, description: 'For ssm create-activation' });
    new CfnOutput(this, 'HostRoleId', { value: hostRole.roleId });
    new CfnOutput(this, 'MigrateMachine', { value: migrate.stateMachineArn });
    new CfnOutput(this, 'RecoverMachine', { value: recover.stateMachineArn });
    new CfnOutput(this, 'EvacuateMachine', { value: evacuate.stateMachineArn });
    new CfnOutput(this, 'AlarmTopicArn', { value: topic.topicArn, description: 'Subscribe to it for the alarms' });
    new CfnOutput(this, 'ControlTable', { value: control.tableName });
    new CfnOutput(this, 'MailboxTable', { value: mailbox.tableName });
  }
}
