import { Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import type { RecoveryParts } from '../state-machines/recovery-states.ts';
import { type FunctionContext, handoffFunction } from './function.ts';

/** What the states need that Migrate and Recover share (state-machines/recovery-states.ts): deciding who owns a VM, and settling. */
export class Settlement extends Construct {
  /** For the machines' definitions. */
  readonly parts: RecoveryParts;
  readonly #context: FunctionContext;
  readonly #functions: readonly IFunction[];

  constructor(scope: Construct, id: string, { context, dispatch }: { context: FunctionContext; dispatch: IFunction }) {
    super(scope, id);
    const { control, mailbox } = context;
    const decideOwnership = handoffFunction(this, context, {
      file: 'recovery/decide-ownership.ts',
      description: 'Decides who owns the VM after a failure',
    });
    control.grantReadWriteData(decideOwnership);
    mailbox.grant(decideOwnership, 'dynamodb:GetItem');

    const settle = handoffFunction(this, context, {
      file: 'migrations/settle.ts',
      description: 'Writes a migration’s outcome and releases what it held',
    });
    control.grantReadWriteData(settle);
    mailbox.grant(settle, 'dynamodb:UpdateItem');
    settle.addToRolePolicy(
      new PolicyStatement({
        sid: 'PublishMigrationEnded',
        actions: ['events:PutEvents'],
        resources: [Stack.of(this).formatArn({ service: 'events', resource: 'event-bus', resourceName: 'default' })],
        conditions: { StringEquals: { 'events:source': 'handoff' } },
      }),
    );

    this.#context = context;
    this.#functions = [dispatch, decideOwnership, settle];
    this.parts = {
      dispatch: dispatch.functionArn,
      decideOwnership: decideOwnership.functionArn,
      settle: settle.functionArn,
      mailboxTable: mailbox.tableName,
    };
  }

  grantUse(machine: StateMachine): void {
    for (const fn of this.#functions) fn.grantInvoke(machine);
    this.#context.mailbox.grant(machine, 'dynamodb:UpdateItem');
  }
}
