import { ArnFormat, CfnOutput, Duration, Stack, type StackProps } from 'aws-cdk-lib';
import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction, SfnStateMachine } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { FilterCriteria, FilterRule, StartingPosition } from 'aws-cdk-lib/aws-lambda';
import { DynamoEventSource, SqsDlq } from 'aws-cdk-lib/aws-lambda-event-sources';
import type { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { DefinitionBody, LogLevel, StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import { AgentAccess } from './constructs/agent-access.ts';
import { Alarms } from './constructs/alarms.ts';
import { ControlApi } from './constructs/control-api.ts';
import { handoffFunction } from './constructs/function.ts';
import { Tables } from './constructs/tables.ts';
import type { Definition } from './state-machines/asl.ts';
import { evacuateDefinition } from './state-machines/evacuate.ts';
import { migrateDefinition } from './state-machines/migrate.ts';
import { recoverDefinition } from './state-machines/recover.ts';

/** Fixed names, so that functions which a machine calls can be allowed to answer it without a circle of references. */
const MIGRATE = 'handoff-migrate';
const RECOVER = 'handoff-recover';
const EVACUATE = 'handoff-evacuate';
/** The functions' metrics have it as a dimension. */
const SERVICE = 'handoff';

/** The whole control plane. */
export class HandoffStack extends Stack {
  private readonly queues: Queue[] = [];

  constructor(scope: Construct, id: string, props?: StackProps) {
    super(scope, id, props);
    const { control, mailbox } = new Tables(this, 'Tables');
    const { hostRole, document } = new AgentAccess(this, 'Agent', { mailbox });
    const environment = {
      CONTROL_TABLE: control.tableName,
      MAILBOX_TABLE: mailbox.tableName,
      HOST_ROLE_ID: hostRole.roleId,
      POWERTOOLS_SERVICE_NAME: SERVICE,
    };
    const fn = (name: string, file: string, description: string, more: Record<string, string> = {}) =>
      handoffFunction(this, name, { file, description, environment: { ...environment, ...more } });

    // The stages of a migration.
    const admit = fn(
      'Admit',
      'migrations/admit.ts',
      'Takes lock, commit record and slots for a migration, or its place in line',
    );
    control.grantReadWriteData(admit);
    mailbox.grant(admit, 'dynamodb:PutItem');
    const dispatch = fn('Dispatch', 'agent-gateway/dispatch.ts', 'Orders one stage from one host', {
      AGENT_DOCUMENT: document.ref,
    });
    control.grantReadWriteData(dispatch);
    mailbox.grant(dispatch, 'dynamodb:GetItem', 'dynamodb:PutItem');
    dispatch.addToRolePolicy(
      new PolicyStatement({
        sid: 'OnlyOurDocumentOnManagedNodes',
        actions: ['ssm:SendCommand'],
        resources: [
          this.formatArn({ service: 'ssm', resource: 'document', resourceName: document.ref }),
          this.formatArn({ service: 'ssm', resource: 'managed-instance', resourceName: 'mi-*' }),
          this.formatArn({ service: 'ec2', resource: 'instance', resourceName: 'i-*' }),
        ],
      }),
    );
    this.mayAnswerTasks(dispatch);
    const reserveMemory = fn(
      'ReserveMemory',
      'migrations/reserve-memory.ts',
      'Promises the destination’s memory to a migration',
    );
    control.grantReadWriteData(reserveMemory);
    const acquireCutoverSlot = fn(
      'AcquireCutoverSlot',
      'migrations/acquire-cutover-slot.ts',
      'Lets a migration switch when it is its turn',
    );
    control.grantReadWriteData(acquireCutoverSlot);
    const decideRecovery = fn(
      'DecideOwnership',
      'recovery/decide-ownership.ts',
      'Decides who owns the VM after a failure',
    );
    control.grantReadWriteData(decideRecovery);
    mailbox.grant(decideRecovery, 'dynamodb:GetItem');
    const settle = fn('Settle', 'migrations/settle.ts', 'Writes a migration’s outcome and gives back what it held');
    control.grantReadWriteData(settle);
    mailbox.grant(settle, 'dynamodb:UpdateItem');
    settle.addToRolePolicy(
      new PolicyStatement({
        sid: 'TellOfEnds',
        actions: ['events:PutEvents'],
        resources: [this.formatArn({ service: 'events', resource: 'event-bus', resourceName: 'default' })],
        conditions: { StringEquals: { 'events:source': 'handoff' } },
      }),
    );
    const resumeStoppedExecution = fn(
      'ResumeStoppedExecution',
      'recovery/resume-stopped-execution.ts',
      'Reads what a stopped execution had been given, for its successor',
    );
    control.grantReadWriteData(resumeStoppedExecution);

    const recovery = {
      dispatch: dispatch.functionArn,
      decideRecovery: decideRecovery.functionArn,
      settle: settle.functionArn,
      mailboxTable: mailbox.tableName,
    };
    const migrate = this.machine('Migrate', MIGRATE, {
      definition: migrateDefinition({
        ...recovery,
        admit: admit.functionArn,
        reserveMemory: reserveMemory.functionArn,
        acquireCutoverSlot: acquireCutoverSlot.functionArn,
      }),
    });
    for (const called of [admit, reserveMemory, acquireCutoverSlot]) called.grantInvoke(migrate);
    const recover = this.machine('Recover', RECOVER, {
      definition: recoverDefinition({ ...recovery, resumeStoppedExecution: resumeStoppedExecution.functionArn }),
    });
    resumeStoppedExecution.grantInvoke(recover);
    for (const machine of [migrate, recover]) {
      for (const called of [dispatch, decideRecovery, settle]) called.grantInvoke(machine);
      mailbox.grant(machine, 'dynamodb:UpdateItem');
    }

    // Emptying a host.
    const beginEvacuation = fn(
      'BeginEvacuation',
      'evacuations/begin-evacuation.ts',
      'Cordons a host for one evacuation',
    );
    control.grantReadWriteData(beginEvacuation);
    const planEvacuation = fn(
      'PlanEvacuation',
      'evacuations/plan-evacuation.ts',
      'Which hosts each VM of an evacuation may try',
    );
    control.grantReadData(planEvacuation);
    const evacuate = this.machine('Evacuate', EVACUATE, {
      definition: evacuateDefinition({
        beginEvacuation: beginEvacuation.functionArn,
        planEvacuation: planEvacuation.functionArn,
        dispatch: dispatch.functionArn,
        migrateMachine: migrate.stateMachineArn,
        controlTable: control.tableName,
      }),
    });
    for (const called of [beginEvacuation, planEvacuation, dispatch]) called.grantInvoke(evacuate);
    control.grant(evacuate, 'dynamodb:GetItem', 'dynamodb:UpdateItem');
    migrate.grantStartExecution(evacuate);
    migrate.grantExecution(evacuate, 'states:DescribeExecution', 'states:StopExecution');
    evacuate.addToRolePolicy(
      new PolicyStatement({
        sid: 'WaitForChildExecutions',
        actions: ['events:PutTargets', 'events:PutRule', 'events:DescribeRule'],
        resources: [
          this.formatArn({
            service: 'events',
            resource: 'rule',
            resourceName: 'StepFunctionsGetEventsForStepFunctionsExecutionRule',
          }),
        ],
      }),
    );
    beginEvacuation.addToRolePolicy(
      new PolicyStatement({
        actions: ['states:DescribeExecution'],
        resources: [this.machineArn('execution', EVACUATE, ':*')],
      }),
    );

    // What hosts report.
    const deadReports = this.deadLetters('DeadReports');
    const relay = fn('Relay', 'agent-gateway/relay.ts', 'Carries hosts’ reports to the state machines');
    control.grantReadWriteData(relay);
    this.mayAnswerTasks(relay);
    relay.addEventSource(
      new DynamoEventSource(mailbox as ITable, {
        startingPosition: StartingPosition.TRIM_HORIZON,
        batchSize: 100,
        // One host's reports keep their order; other hosts' need not wait for them.
        parallelizationFactor: 10,
        bisectBatchOnError: true,
        reportBatchItemFailures: true,
        retryAttempts: 10,
        onFailure: new SqsDlq(deadReports),
        filters: [FilterCriteria.filter({ dynamodb: { Keys: { sk: { S: FilterRule.beginsWith('REPORT#') } } } })],
      }),
    );
    const onCommandEnded = fn(
      'OnCommandEnded',
      'agent-gateway/on-command-ended.ts',
      'Fails requests whose SSM command could not run',
    );
    control.grantReadWriteData(onCommandEnded);
    this.mayAnswerTasks(onCommandEnded);
    const retries = { maxEventAge: Duration.hours(2), retryAttempts: 20 };
    new Rule(this, 'CommandEnded', {
      description: 'An SSM command of ours ended otherwise than well',
      eventPattern: {
        source: ['aws.ssm'],
        detailType: ['EC2 Command Status-change Notification'],
        detail: {
          'document-name': [document.ref],
          status: [{ 'anything-but': ['Pending', 'InProgress', 'Delayed', 'Cancelling', 'Success'] }],
        },
      },
      targets: [
        new LambdaFunction(onCommandEnded, { deadLetterQueue: this.deadLetters('DeadCommandEvents'), ...retries }),
      ],
    });
    const onExecutionStopped = fn(
      'OnExecutionStopped',
      'recovery/on-execution-stopped.ts',
      'Has Recover take over from stopped executions',
      { RECOVER_MACHINE: recover.stateMachineArn },
    );
    control.grantReadData(onExecutionStopped);
    this.mayRecover(onExecutionStopped, recover);
    new Rule(this, 'ExecutionStopped', {
      description: 'A migration’s execution ended otherwise than well, perhaps without settling anything',
      eventPattern: {
        source: ['aws.states'],
        detailType: ['Step Functions Execution Status Change'],
        detail: {
          stateMachineArn: [migrate.stateMachineArn, recover.stateMachineArn],
          status: ['FAILED', 'TIMED_OUT', 'ABORTED'],
        },
      },
      targets: [
        new LambdaFunction(onExecutionStopped, {
          deadLetterQueue: this.deadLetters('DeadExecutionEvents'),
          ...retries,
        }),
      ],
    });
    const sweep = handoffFunction(this, 'Sweep', {
      file: 'recovery/sweep.ts',
      description: 'Recovers migrations nobody is at work on, follows up on flagged hosts, gives back what was leaked',
      environment: { ...environment, RECOVER_MACHINE: recover.stateMachineArn },
      timeout: Duration.minutes(4),
    });
    control.grantReadWriteData(sweep);
    this.mayRecover(sweep, recover);
    for (const machine of [migrate, evacuate]) machine.grantExecution(sweep, 'states:DescribeExecution');
    // Whether a flagged host is back. It has no resources to name.
    sweep.addToRolePolicy(new PolicyStatement({ actions: ['ssm:DescribeInstanceInformation'], resources: ['*'] }));
    new Rule(this, 'SweepRegularly', {
      description: 'For events that never came',
      schedule: Schedule.rate(Duration.minutes(5)),
      targets: [
        new LambdaFunction(sweep, {
          deadLetterQueue: this.deadLetters('DeadSweeps'),
          // The next one is due by then.
          maxEventAge: Duration.minutes(5),
          retryAttempts: 2,
        }),
      ],
    });
    new Rule(this, 'MaintenanceScheduled', {
      description: 'A host is to be serviced: empty it',
      eventPattern: { source: ['handoff.maintenance'], detailType: ['Host Maintenance Scheduled'] },
      targets: [
        new SfnStateMachine(evacuate, {
          input: RuleTargetInput.fromEventPath('$.detail'),
          deadLetterQueue: this.deadLetters('DeadMaintenanceEvents'),
          ...retries,
        }),
      ],
    });

    // What people and programs call.
    const api = fn('Api', 'api/api.ts', 'The HTTP API', {
      MIGRATE_MACHINE: migrate.stateMachineArn,
      EVACUATE_MACHINE: evacuate.stateMachineArn,
      RECOVER_MACHINE: recover.stateMachineArn,
    });
    control.grantReadWriteData(api);
    mailbox.grant(api, 'dynamodb:UpdateItem', 'dynamodb:Query');
    this.mayRecover(api, recover);
    for (const machine of [migrate, evacuate]) {
      machine.grantStartExecution(api);
      machine.grantRead(api);
    }
    this.mayAnswerTasks(api);
    const { api: httpApi } = new ControlApi(this, 'ControlApi', { handler: api });

    const { topic } = new Alarms(this, 'Alarms', { service: SERVICE, deadLetters: this.queues });

    new CfnOutput(this, 'ApiUrl', { value: httpApi.apiEndpoint });
    new CfnOutput(this, 'HostRoleName', { value: hostRole.roleName, description: 'For ssm create-activation' });
    new CfnOutput(this, 'HostRoleId', { value: hostRole.roleId });
    new CfnOutput(this, 'MigrateMachine', { value: migrate.stateMachineArn });
    new CfnOutput(this, 'RecoverMachine', { value: recover.stateMachineArn });
    new CfnOutput(this, 'EvacuateMachine', { value: evacuate.stateMachineArn });
    new CfnOutput(this, 'AlarmTopicArn', { value: topic.topicArn, description: 'Subscribe whoever should be told' });
    new CfnOutput(this, 'ControlTable', { value: control.tableName });
    new CfnOutput(this, 'MailboxTable', { value: mailbox.tableName });
  }

  private machine(id: string, name: string, props: { definition: Definition }): StateMachine {
    return new StateMachine(this, id, {
      stateMachineName: name,
      definitionBody: DefinitionBody.fromString(this.toJsonString(props.definition)),
      tracingEnabled: true,
      logs: {
        destination: new LogGroup(this, `${id}ExecutionLogs`, {
          logGroupName: `/aws/vendedlogs/states/${name}`,
          retention: RetentionDays.THREE_MONTHS,
        }),
        level: LogLevel.ERROR,
        includeExecutionData: false,
      },
    });
  }

  private machineArn(kind: 'stateMachine' | 'execution', name: string, suffix = ''): string {
    return this.formatArn({
      service: 'states',
      resource: kind,
      resourceName: `${name}${suffix}`,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    });
  }

  private mayAnswerTasks(fn: NodejsFunction): void {
    fn.addToRolePolicy(
      new PolicyStatement({
        actions: ['states:SendTaskSuccess', 'states:SendTaskFailure', 'states:SendTaskHeartbeat'],
        resources: [MIGRATE, RECOVER, EVACUATE].map((name) => this.machineArn('stateMachine', name)),
      }),
    );
  }

  private mayRecover(fn: NodejsFunction, recover: StateMachine): void {
    recover.grantStartExecution(fn);
    recover.grantExecution(fn, 'states:DescribeExecution');
  }

  private deadLetters(id: string): Queue {
    const queue = new Queue(this, id, { retentionPeriod: Duration.days(14), enforceSSL: true });
    this.queues.push(queue);
    return queue;
  }
}
