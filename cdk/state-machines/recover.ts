import { call, type Definition, js, retry } from './asl.ts';
import { type RecoveryParts, recoveryStates } from './recovery-states.ts';

export interface RecoverParts extends RecoveryParts {
  resumeStoppedExecution: string;
}

/** A function that a stopped execution has called may still run for as long as its timeout. */
const FUNCTIONS_END_SECONDS = 30;

/**
 * Settles a migration whose own execution did not: it was stopped from outside, or it ended with NEEDS_OPERATOR and an operator has
 * resolved it. Also runs the cleanup of a migration that was settled while a host did not answer; the outcome stays.
 *
 * Input: `migrationId`; `number`, counted from 1 over all Recover executions of one migration; `stoppedExecutionArn`, the ARN of the
 * execution that was stopped, if one was. The name is `<migrationId>.<number>`, so that one execution recovers a
 * migration, however often that is asked for. It succeeds when the migration is settled, with the settlement as output, whatever
 * the outcome is: after any other end nothing is settled, and the next number resumes.
 */
export function recoverDefinition(fn: RecoverParts): Definition {
  const input = '$states.context.Execution.Input';
  const migrationId = js(`${input}.migrationId`);
  return {
    Comment:
      'Handoff: settles a migration whose execution was stopped, or runs a pending cleanup. Input: migrationId, number, stoppedExecutionArn.',
    QueryLanguage: 'JSONata',
    StartAt: 'Drain stopped execution',
    States: {
      'Drain stopped execution': {
        Type: 'Wait',
        Comment: 'Functions that the stopped execution has called may still run.',
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
            'Reads what admission gave the migration and what an operator stated, or which hosts have pending cleanups.',
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
        Default: 'Nothing changed',
      },
      'Nothing changed': {
        Type: 'Pass',
        Comment:
          'The VM continues to run at the source; or the migration has ended, without a pending cleanup, and its outcome stays.',
        Assign: { outcome: js("{ 'status': 'FAILED', 'failure': $failure }") },
        Next: 'Settle',
      },
      ...recoveryStates(fn, { migrationId, execution: `${input}.number`, settled: 'Settled' }),
      Settled: { Type: 'Succeed', Output: js('$settled') },
    },
  };
}
