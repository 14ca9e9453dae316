import { Duration } from 'aws-cdk-lib';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { recoverDefinition } from '../state-machines/recover.ts';
import { type DeadLetters, EVENT_RETRIES } from './dead-letters.ts';
import { type FunctionContext, handoffFunction } from './function.ts';
import type { Settlement } from './settlement.ts';
import { grantRecovery, handoffStateMachine } from './state-machine.ts';

interface Props {
  context: FunctionContext;
  settlement: Settlement;
  migrate: StateMachine;
  evacuate: StateMachine;
  deadLetters: DeadLetters;
}

/** What happens after an execution was stopped, or a host was silent: the machine Recover, and what starts it. */
export class Recovery extends Construct {
  readonly machine: StateMachine;

  constructor(scope: Construct, id: string, { context, settlement, migrate, evacuate, deadLetters }: Props) {
    super(scope, id);
    const { control } = context;
    const resumeStoppedExecution = handoffFunction(this, context, {
      file: 'recovery/resume-stopped-execution.ts',
      description: 'Reads what a stopped execution had been given, for its successor',
    });
    control.grantReadWriteData(resumeStoppedExecution);
    this.machine = handoffStateMachine(
      this,
      'Recover',
      recoverDefinition({ ...settlement.parts, resumeStoppedExecution: resumeStoppedExecution.functionArn }),
    );
    resumeStoppedExecution.grantInvoke(this.machine);
    settlement.grantUse(this.machine);

    const environment = { RECOVER_MACHINE: this.machine.stateMachineArn };
    const onExecutionStopped = handoffFunction(this, context, {
      file: 'recovery/on-execution-stopped.ts',
      description: 'Starts the recovery of migrations whose execution was stopped',
      environment,
    });
    control.grantReadData(onExecutionStopped);
    grantRecovery(onExecutionStopped, this.machine);
    new Rule(this, 'ExecutionStopped', {
      description: 'A migration’s execution failed or was stopped, perhaps without settling anything',
      eventPattern: {
        source: ['aws.states'],
        detailType: ['Step Functions Execution Status Change'],
        detail: {
          stateMachineArn: [migrate.stateMachineArn, this.machine.stateMachineArn],
          status: ['FAILED', 'TIMED_OUT', 'ABORTED'],
        },
      },
      targets: [
        new LambdaFunction(onExecutionStopped, {
          deadLetterQueue: deadLetters.queue('ExecutionEvents'),
          ...EVENT_RETRIES,
        }),
      ],
    });

    const sweep = handoffFunction(this, context, {
      file: 'recovery/sweep.ts',
      description: 'Recovers migrations that no execution is responsible for, starts pending cleanups, releases leaks',
      environment,
      timeout: Duration.minutes(4),
    });
    control.grantReadWriteData(sweep);
    grantRecovery(sweep, this.machine);
    for (const machine of [migrate, evacuate]) machine.grantExecution(sweep, 'states:DescribeExecution');
    // Whether a host with a pending cleanup is online. The action has no resources to name.
    sweep.addToRolePolicy(new PolicyStatement({ actions: ['ssm:DescribeInstanceInformation'], resources: ['*'] }));
    new Rule(this, 'SweepRegularly', {
      description: 'For events that were never delivered',
      schedule: Schedule.rate(Duration.minutes(5)),
      targets: [
        new LambdaFunction(sweep, {
          deadLetterQueue: deadLetters.queue('Sweeps'),
          // The next one is due by then.
          maxEventAge: Duration.minutes(5),
          retryAttempts: 2,
        }),
      ],
    });
  }
}
