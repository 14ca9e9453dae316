import { ArnFormat, Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { DefinitionBody, LogLevel, StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import type { Definition } from '../state-machines/asl.ts';

/** Fixed names, so that functions which a machine calls can be allowed to answer it without a circle of references. */
export const MACHINES = {
  Migrate: 'handoff-migrate',
  Recover: 'handoff-recover',
  Evacuate: 'handoff-evacuate',
} as const;

export function handoffStateMachine(scope: Construct, id: keyof typeof MACHINES, definition: Definition): StateMachine {
  return new StateMachine(scope, id, {
    stateMachineName: MACHINES[id],
    definitionBody: DefinitionBody.fromString(Stack.of(scope).toJsonString(definition)),
    tracingEnabled: true,
    logs: {
      destination: new LogGroup(scope, `${id}ExecutionLogs`, {
        logGroupName: `/aws/vendedlogs/states/${MACHINES[id]}`,
        retention: RetentionDays.THREE_MONTHS,
      }),
      level: LogLevel.ERROR,
      includeExecutionData: false,
    },
  });
}

/** The ARN of a machine, or of all its executions, from its name alone. */
export function arnOfMachine(scope: Construct, id: keyof typeof MACHINES, of: 'stateMachine' | 'execution'): string {
  return Stack.of(scope).formatArn({
    service: 'states',
    resource: of,
    resourceName: `${MACHINES[id]}${of === 'execution' ? ':*' : ''}`,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
}

/** Lets a function answer the task tokens of all machines. */
export function grantTaskAnswers(fn: IFunction): void {
  fn.addToRolePolicy(
    new PolicyStatement({
      actions: ['states:SendTaskSuccess', 'states:SendTaskFailure', 'states:SendTaskHeartbeat'],
      resources: (['Migrate', 'Recover', 'Evacuate'] as const).map((id) => arnOfMachine(fn, id, 'stateMachine')),
    }),
  );
}

/** Lets a function start a recovery, and find out whether one runs. */
export function grantRecovery(fn: IFunction, recover: StateMachine): void {
  recover.grantStartExecution(fn);
  recover.grantExecution(fn, 'states:DescribeExecution');
}
