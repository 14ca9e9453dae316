import { call, js, retry, type State, stage } from './asl.ts';

export interface RecoveryParts {
  dispatch: string;
  decideOwnership: string;
  settle: string;
  mailboxTable: string;
}

/** For Settle: the hosts that did not answer, and whether the migration had been settled before. */
const CLEANUP = "'pendingCleanup': [$decision.pendingCleanup], 'cleanup': $decision.cleanup";

/** Counted from here, and not from the state that failed: a copy may have run for hours. */
const BEGIN = { round: 1, recoverySince: js('$states.context.State.EnteredTime') };

/** How long a host may take to answer a short stage: delivery of the command (30 s at most), start, work. */
export const SHORT_STAGE_SECONDS = 90;

/**
 * Recovery and settling, as Migrate and Recover both contain them: from `Revoke commit record`, or from `Settle` on, to the state
 * `settled`. They read the variables `admission` (the commit record's key), `failure` and `results`; `Settle` alone
 * reads `outcome` and `results`, and assigns `settled`.
 *
 * `execution` numbers the executions of one migration: each counts its rounds from 1, and the requests of one must not be mistaken
 * for another's.
 */
export function recoveryStates(
  fn: RecoveryParts,
  { migrationId, execution, settled }: { migrationId: string; execution: string; settled: string },
): Record<string, State> {
  const attempt = js(`${execution} * 100 + $round`);

  const inspect = (role: 'source' | 'destination', title: string, comment: string) => ({
    StartAt: title,
    States: {
      [title]: stage(
        fn.dispatch,
        { migrationId, stage: 'inspect', role, attempt, fence: role === 'source' },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment: comment,
          Output: js('$states.result'),
          End: true,
          Catch: [
            {
              ErrorEquals: ['States.ALL'],
              Output: { unreachable: true, why: js("$states.errorOutput.Error & ' ' & $states.errorOutput.Cause") },
              Next: `No evidence from the ${role}`,
            },
          ],
        },
      ),
      [`No evidence from the ${role}`]: {
        Type: 'Pass',
        Comment: 'A host that does not answer proves nothing.',
        End: true,
      },
    },
  });

  return {
    'Revoke commit record': {
      Type: 'Task',
      Comment: 'Recovery begins: from here on no handover can be committed, unless it is committed already.',
      Resource: 'arn:aws:states:::dynamodb:updateItem',
      Arguments: {
        TableName: fn.mailboxTable,
        Key: { pk: { S: js('$admission.commitRecord.pk') }, sk: { S: js('$admission.commitRecord.sk') } },
        UpdateExpression: 'SET #state = :revoked',
        ConditionExpression: '#state IN (:open, :revoked)',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':revoked': { S: 'REVOKED' }, ':open': { S: 'OPEN' } },
      },
      Assign: BEGIN,
      Output: js("{ 'commitRecord': 'REVOKED' }"),
      Retry: retry({
        errors: ['DynamoDB.ProvisionedThroughputExceededException', 'DynamoDB.InternalServerError', 'States.Timeout'],
        attempts: 100,
      }),
      Catch: [
        {
          ErrorEquals: ['DynamoDB.ConditionalCheckFailedException'],
          Assign: BEGIN,
          Output: js("{ 'commitRecord': 'COMMITTED' }"),
          Next: 'Inspect both hosts',
        },
      ],
      Next: 'Inspect both hosts',
    },
    'Inspect both hosts': {
      Type: 'Parallel',
      Branches: [
        inspect(
          'source',
          'Fence and inspect the source',
          'Kills the mover, waits until its libvirt job is gone, and inspects the VM.',
        ),
        inspect('destination', 'Inspect the destination', 'Inspects the VM or an incoming copy of it.'),
      ],
      Output: js("{ 'source': $states.result[0], 'destination': $states.result[1] }"),
      Next: 'Decide who owns the VM',
    },
    'Decide who owns the VM': call(
      fn.decideOwnership,
      {
        migrationId,
        commitRecord: js('$admission.commitRecord'),
        round: js('$round'),
        since: js('$recoverySince'),
        source: js('$states.input.source'),
        destination: js('$states.input.destination'),
      },
      {
        Comment: 'From the commit record and the evidence of both hosts.',
        Assign: {
          decision: js('$states.result.Payload'),
          round: js('$round + 1'),
          // The time in which libvirt is seen to complete a post-copy by itself does not count.
          recoverySince: js(
            '$states.result.Payload.waitsForPostCopy ? $states.context.State.EnteredTime : $recoverySince',
          ),
        },
        Retry: retry({ errors: ['States.ALL'], attempts: 100 }),
        Next: 'Route decision',
      },
    ),
    'Route decision': {
      Type: 'Choice',
      Choices: [
        {
          Condition: js("$decision.kind = 'settle' and $decision.owner = 'destination'"),
          Assign: {
            outcome: js(
              "{ 'status': $decision.commitRecord = 'COMMITTED' ? 'SUCCEEDED' : 'FAILED', 'owner': 'destination', 'failure': $failure, " +
                `${CLEANUP} }`,
            ),
          },
          Next: 'Settle',
        },
        {
          Condition: js("$decision.kind = 'settle'"),
          Assign: {
            outcome: js(`{ 'status': 'FAILED', 'owner': $decision.owner, 'failure': $failure, ${CLEANUP} }`),
          },
          Next: 'Settle',
        },
        { Condition: js("$decision.kind = 'act'"), Next: 'Apply recovery action' },
        { Condition: js("$decision.kind = 'wait'"), Next: 'Wait for evidence' },
      ],
      Default: 'Ask an operator',
    },
    'Apply recovery action': stage(
      fn.dispatch,
      { migrationId, stage: 'abort', role: js('$decision.role'), attempt, action: js('$decision.action') },
      { timeoutSeconds: SHORT_STAGE_SECONDS },
      {
        Comment: 'One action on one host; the next inspection shows whether it succeeded.',
        Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Wait for evidence' }],
        Next: 'Inspect both hosts',
      },
    ),
    'Wait for evidence': { Type: 'Wait', Seconds: js('$decision.waitSeconds'), Next: 'Inspect both hosts' },
    'Ask an operator': {
      Type: 'Pass',
      Comment: 'The VM stays locked, nothing is resumed; the record states what was found and what settles it.',
      Assign: {
        outcome: js(
          "{ 'status': 'NEEDS_OPERATOR', 'failure': { 'code': 'NeedsOperator', 'message': $decision.report & ' It began with ' & " +
            `$failure.code & ': ' & $failure.message }, ${CLEANUP} }`,
        ),
      },
      Next: 'Settle',
    },

    Settle: call(
      fn.settle,
      {
        migrationId,
        executionArn: js('$states.context.Execution.Id'),
        outcome: js('$outcome'),
        results: js('$results'),
      },
      {
        Comment: 'Writes the outcome and releases lock, slots and memory. Repeated until it succeeds.',
        Assign: { settled: js('$states.result.Payload') },
        Retry: retry({ errors: ['States.ALL'], attempts: 1000 }),
        Next: settled,
      },
    ),
  };
}
