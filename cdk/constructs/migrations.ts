import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { migrateDefinition } from '../state-machines/migrate.ts';
import { type FunctionContext, handoffFunction } from './function.ts';
import type { Settlement } from './settlement.ts';
import { handoffStateMachine } from './state-machine.ts';

/** One VM's migration: the machine Migrate, and the functions that only it calls. */
export class Migrations extends Construct {
  readonly machine: StateMachine;

  constructor(
    scope: Construct,
    id: string,
    { context, settlement }: { context: FunctionContext; settlement: Settlement },
  ) {
    super(scope, id);
    const { control, mailbox } = context;
    const admit = handoffFunction(this, context, {
      file: 'migrations/admit.ts',
      description: 'Takes lock, commit record and slots for a migration, or a position in the queue',
    });
    mailbox.grant(admit, 'dynamodb:PutItem');
    const reserveMemory = handoffFunction(this, context, {
      file: 'migrations/reserve-memory.ts',
      description: 'Promises the destination’s memory to a migration',
    });
    const acquireCutoverSlot = handoffFunction(this, context, {
      file: 'migrations/acquire-cutover-slot.ts',
      description: 'Takes a cutover slot on both hosts of a migration',
    });
    this.machine = handoffStateMachine(
      this,
      'Migrate',
      migrateDefinition({
        ...settlement.parts,
        admit: admit.functionArn,
        reserveMemory: reserveMemory.functionArn,
        acquireCutoverSlot: acquireCutoverSlot.functionArn,
      }),
    );
    for (const fn of [admit, reserveMemory, acquireCutoverSlot]) {
      control.grantReadWriteData(fn);
      fn.grantInvoke(this.machine);
    }
    settlement.grantUse(this.machine);
  }
}
