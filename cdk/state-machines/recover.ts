import { call, type Definition, js, retry } from './asl.ts';
import { type RecoveryParts, recoveryStates } from './recovery-states.ts';

export interface RecoverParts extends RecoveryParts {
  resumeStoppedExecution: string;
}

/** A function of a stopped execution may run on for as long as a function may run at all. */
const FUNCTIONS_END_SECONDS = 30;

/**
 * Settles a migration whose execution can't: it was stopped from outside, or it ended asking for an operator, who has spoken.
 * And follows up on one that was settled while a host did not answer: what was left there is put right, the outcome stays.
 *
 * Input: `migrationId`; `number`, counted from 1 over all Recover executions of one migration; `stoppedExecutionArn`, the ARN of the
 * execution that was stopped, if one was. The name is `<migrationId>.<number>`, so that however many want a migration
 * recovered, one execution does it. It succeeds when the migration is settled, with the settlement as output, whatever that
 * is: any other end means that nothing is settled, and the next number takes over.
 */
export function recoverDefinition(fn: RecoverParts): Definition {
  const input = '$states.context.Execution.Input';
  const migrationId = js(`${input}.migrationId`);
  return {
    Comment:
      'Handoff: settles a migration whose execution was stopped, or follows up on a flagged host. Input: migrationId, number, stoppedExecutionArn.',
    QueryLanguage: 'JSONata',
    StartAt: 'Drain stopped execution',
    States: {
      'Drain stopped execution': {
        Type: 'Wait',
        Comment: 'What a stopped execution had called may still be at work.',
        Seconds: js(`$exists(${input}.stoppedExecutionArn) ? ${FUNCTIONS_END_SECONDS} : 0`),
        Next: 'Resume stopped execution',
      },
      'Resume stopped execution': call(
        fn.resumeStoppedExecution,
        {
          migrationId,
          number: js(`${input}.number`),
          executionArn: js('$states.context.Execution.Id'),
          stopped: js(`$exists(${input}.stoppedExecutionArn)`),
        },
        {
          Comment:
            'Reads what the migration had been given, and what an operator said; or which hosts to follow up on.',
          Assign: {
            admission: js('$states.result.Payload'),
            failure: js('$states.result.Payload.failure'),
            results: {},
          },
          Retry: retry({ attempts: 100 }),
          Next: 'Was it admitted?',
        },
      ),
      'Was it admitted?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$admission.admitted'), Next: 'Revoke commit record' }],
        Default: 'Nothing was touched',
      },
      'Nothing was touched': {
        Type: 'Pass',
        Comment:
          'The VM runs on where it was; or the migration has ended, with nothing to follow up, and its outcome stays.',
        Assign: { outcome: js("{ 'status': 'FAILED', 'failure': $failure }") },
        Next: 'Settle',
      },
      ...recoveryStates(fn, { migrationId, execution: `${input}.number`, settled: 'Settled' }),
      Settled: { Type: 'Succeed', Output: js('$settled') },
    },
  };
}
