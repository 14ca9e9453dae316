import { Stack } from 'aws-cdk-lib';
import { Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SfnStateMachine } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { evacuateDefinition } from '../state-machines/evacuate.ts';
import { type DeadLetters, EVENT_RETRIES } from './dead-letters.ts';
import { type FunctionContext, handoffFunction } from './function.ts';
import { arnOfMachine, handoffStateMachine } from './state-machine.ts';

interface Props {
  context: FunctionContext;
  dispatch: IFunction;
  migrate: StateMachine;
  deadLetters: DeadLetters;
}

/** Emptying a host: the machine Evacuate, its functions, and the maintenance events that start it. */
export class Evacuations extends Construct {
  readonly machine: StateMachine;

  constructor(scope: Construct, id: string, { context, dispatch, migrate, deadLetters }: Props) {
    super(scope, id);
    const { control } = context;
    const beginEvacuation = handoffFunction(this, context, {
      file: 'evacuations/begin-evacuation.ts',
      description: 'Cordons a host for one evacuation',
    });
    control.grantReadWriteData(beginEvacuation);
    beginEvacuation.addToRolePolicy(
      new PolicyStatement({
        actions: ['states:DescribeExecution'],
        resources: [arnOfMachine(this, 'Evacuate', 'execution')],
      }),
    );
    const planEvacuation = handoffFunction(this, context, {
      file: 'evacuations/plan-evacuation.ts',
      description: 'Which hosts each VM of an evacuation may try',
    });
    control.grantReadData(planEvacuation);

    this.machine = handoffStateMachine(
      this,
      'Evacuate',
      evacuateDefinition({
        beginEvacuation: beginEvacuation.functionArn,
        planEvacuation: planEvacuation.functionArn,
        dispatch: dispatch.functionArn,
        migrateMachine: migrate.stateMachineArn,
        controlTable: control.tableName,
      }),
    );
    for (const fn of [beginEvacuation, planEvacuation, dispatch]) fn.grantInvoke(this.machine);
    control.grant(this.machine, 'dynamodb:GetItem', 'dynamodb:UpdateItem');
    migrate.grantStartExecution(this.machine);
    migrate.grantExecution(this.machine, 'states:DescribeExecution', 'states:StopExecution');
    this.machine.addToRolePolicy(
      new PolicyStatement({
        sid: 'WaitForChildExecutions',
        actions: ['events:PutTargets', 'events:PutRule', 'events:DescribeRule'],
        resources: [
          Stack.of(this).formatArn({
            service: 'events',
            resource: 'rule',
            resourceName: 'StepFunctionsGetEventsForStepFunctionsExecutionRule',
          }),
        ],
      }),
    );

    new Rule(this, 'MaintenanceScheduled', {
      description: 'A host is to be serviced: empty it',
      eventPattern: { source: ['handoff.maintenance'], detailType: ['Host Maintenance Scheduled'] },
      targets: [
        new SfnStateMachine(this.machine, {
          input: RuleTargetInput.fromEventPath('$.detail'),
          deadLetterQueue: deadLetters.queue('MaintenanceEvents'),
          ...EVENT_RETRIES,
        }),
      ],
    });
  }
}
