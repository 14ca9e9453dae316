import { CAUGHT, call, type Definition, FAILED_CHECKS, js, retry, type State, stage } from './asl.ts';

export interface MigrateParts {
  admit: string;
  dispatch: string;
  reserveMemory: string;
  recover: string;
  settle: string;
  takeOver: string;
  mailboxTable: string;
}

/** How long a host may take to answer a short stage: delivery of the command (30 s at most), start, work. */
const SHORT_STAGE_SECONDS = 90;
const MINE = { migrationId: js('$migrationId') };
/** A function of a stopped execution may run on for as long as a function may run at all. */
const FUNCTIONS_END_SECONDS = 30;
/** Rounds of recovery are counted anew by each execution of a migration; their requests must not be mistaken for each other. */
const ATTEMPT = js('$takeover * 100 + $round');
/** Of the mover, before its host or its way to AWS counts as gone. */
const SILENCE = js('$admission.policy.silenceSeconds');

/**
 * One VM's move. The execution's name is the migration's id, its input the request (contract/api.ts, MigrationRequest).
 * A name with a number, `<migration id>.1`, is an execution that takes over from one that was stopped from outside.
 *
 * Until pre-copy is ordered nothing has been touched, and a failure only has to be settled. From then on every failure goes
 * through recovery, which finds out by proof where the VM is. Settle always runs.
 */
export function migrateDefinition(fn: MigrateParts): Definition {
  const untouched = [
    { ErrorEquals: ['States.ALL'], Assign: { failure: CAUGHT, results: {} }, Next: 'Nothing was touched' },
  ];
  const touched = [
    {
      ErrorEquals: ['States.ALL'],
      Assign: { failure: CAUGHT, recoverySince: js('$states.context.State.EnteredTime') },
      Next: 'Revoke the ticket',
    },
  ];

  const preflight = (
    role: 'source' | 'destination',
    title: string,
  ): { StartAt: string; States: Record<string, State> } => ({
    StartAt: title,
    States: {
      [title]: stage(
        fn.dispatch,
        { ...MINE, stage: 'preflight', role },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment: `The ${role} answers with its list of checks, each passed or failed with what was found.`,
          Output: js('$states.result'),
          End: true,
        },
      ),
    },
  });

  const verify = (
    role: 'source' | 'destination',
    title: string,
  ): { StartAt: string; States: Record<string, State> } => ({
    StartAt: title,
    States: {
      [title]: stage(
        fn.dispatch,
        { ...MINE, stage: 'verify', role },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment:
            role === 'source'
              ? 'The copy left on the source is gone.'
              : 'The VM runs: its vCPUs advance, its disks are open, its interfaces are on their bridges.',
          Output: js('$states.result'),
          End: true,
        },
      ),
    },
  });

  const inspect = (
    role: 'source' | 'destination',
    title: string,
  ): { StartAt: string; States: Record<string, State> } => ({
    StartAt: title,
    States: {
      [title]: stage(
        fn.dispatch,
        { ...MINE, stage: 'inspect', role, attempt: ATTEMPT, fence: role === 'source' },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment:
            role === 'source'
              ? 'Kills the mover, waits until its libvirt job is gone, and looks.'
              : 'Looks for the VM or an incoming copy of it.',
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
      [`No evidence from the ${role}`]: { Type: 'Pass', Comment: 'Not answering proves nothing.', End: true },
    },
  });

  return {
    Comment: 'Handoff: live-migrates one VM. Input: vm, source, destination, policy. The name is the migration id.',
    QueryLanguage: 'JSONata',
    StartAt: 'Which migration?',
    States: {
      'Which migration?': {
        Type: 'Pass',
        Assign: {
          migrationId: js("$replace($states.context.Execution.Name, /\\.\\d+$/, '')"),
          takeover: js(
            '$contains($states.context.Execution.Name, /\\.\\d+$/) ? $number($match($states.context.Execution.Name, /\\d+$/).match) : 0',
          ),
        },
        Next: 'Begun before?',
      },
      'Begun before?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$takeover > 0'), Next: 'Let its functions end' }],
        Default: 'Admit',
      },
      'Let its functions end': {
        Type: 'Wait',
        Comment: 'The execution this one takes over from was stopped; what it had called may still be at work.',
        Seconds: FUNCTIONS_END_SECONDS,
        Next: 'Take over',
      },
      'Take over': call(
        fn.takeOver,
        { migrationId: js('$migrationId'), executionArn: js('$states.context.Execution.Id') },
        {
          Comment: 'Reads what the stopped execution had been given.',
          Assign: {
            admission: js('$states.result.Payload'),
            results: {},
            recoverySince: js('$states.context.State.EnteredTime'),
            failure: {
              code: 'ExecutionStopped',
              message: 'The execution that carried the migration was stopped from outside.',
            },
          },
          Catch: untouched,
          Next: 'Was it admitted?',
        },
      ),
      'Was it admitted?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$admission.admitted'), Next: 'Revoke the ticket' }],
        Default: 'Nothing was touched',
      },

      Admit: call(
        fn.admit,
        {
          migrationId: js('$migrationId'),
          executionArn: js('$states.context.Execution.Id'),
          requestedAt: js('$states.context.Execution.StartTime'),
          request: js('$states.context.Execution.Input'),
        },
        {
          Comment: 'Takes the VM’s lock, the ticket and a slot on each host, all at once, or waits in line.',
          Assign: { admission: js('$states.result.Payload'), results: {} },
          Catch: untouched,
          Next: 'Admitted?',
        },
      ),
      'Admitted?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$admission.admitted'), Next: 'Preflight' }],
        Default: 'Wait in line',
      },
      'Wait in line': {
        Type: 'Wait',
        Comment: 'A host has no slot free.',
        Seconds: js('$admission.askAgainSeconds'),
        Next: 'Admit',
      },

      Preflight: {
        Type: 'Parallel',
        Comment: 'Both hosts check that the VM can move, and say what they found.',
        Branches: [preflight('source', 'Check the source'), preflight('destination', 'Check the destination')],
        Assign: {
          guest: js('$exists($states.result[0].guest) ? $states.result[0].guest : {}'),
          freeMemoryMiB: js('$exists($states.result[1].freeMemoryMiB) ? $states.result[1].freeMemoryMiB : 0'),
          failedChecks: FAILED_CHECKS,
        },
        Output: js("{ 'source': $states.result[0], 'destination': $states.result[1] }"),
        Catch: untouched,
        Next: 'All checks passed?',
      },
      'All checks passed?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$count($failedChecks) = 0'), Next: 'Reserve memory' }],
        Default: 'Preflight refused',
      },
      'Preflight refused': {
        Type: 'Pass',
        Assign: { failure: { code: 'PreflightFailed', message: js("$join($failedChecks, '; ')") } },
        Next: 'Nothing was touched',
      },
      'Reserve memory': call(
        fn.reserveMemory,
        {
          migrationId: js('$migrationId'),
          destination: js('$admission.destination.hostId'),
          memoryMiB: js('$guest.memoryMiB'),
          freeMemoryMiB: js('$freeMemoryMiB'),
        },
        {
          Comment: 'Promises the destination’s memory to this VM.',
          Catch: untouched,
          Next: 'Pre-copy',
        },
      ),

      'Pre-copy': stage(
        fn.dispatch,
        { ...MINE, stage: 'precopy', role: 'source' },
        // The mover itself keeps the deadline; this is for a mover that does not.
        { timeoutSeconds: js('$admission.policy.deadlineSeconds + 300'), heartbeatSeconds: SILENCE },
        {
          Comment: 'Copies the memory while the guest runs, and holds just before the switch.',
          Assign: { results: js("{ 'precopy': $states.result }") },
          Output: js('$states.result'),
          Catch: touched,
          Next: 'Switched already?',
        },
      ),
      'Switched already?': {
        Type: 'Choice',
        Comment: 'A very idle guest converges despite the brake; its handover is committed and done.',
        Choices: [{ Condition: js("$results.precopy.switched = 'early'"), Next: 'Verify' }],
        Default: 'Cut over',
      },
      'Cut over': stage(
        fn.dispatch,
        { ...MINE, stage: 'cutover', role: 'source' },
        { timeoutSeconds: 900, heartbeatSeconds: SILENCE },
        {
          Comment:
            'Releases the brake; the ticket is committed while both sides are paused; the destination takes over.',
          Assign: { results: js("$merge([$results, { 'cutover': $states.result }])") },
          Output: js('$states.result'),
          Catch: touched,
          Next: 'Verify',
        },
      ),
      Verify: {
        Type: 'Parallel',
        Comment: 'Believes positive evidence only.',
        Branches: [verify('source', 'Verify the source'), verify('destination', 'Verify the destination')],
        Assign: {
          failedChecks: FAILED_CHECKS,
        },
        Output: js("{ 'source': $states.result[0].checks, 'destination': $states.result[1].checks }"),
        Catch: touched,
        Next: 'Verified?',
      },
      'Verified?': {
        Type: 'Choice',
        Choices: [
          {
            Condition: js('$count($failedChecks) = 0'),
            Assign: { outcome: { status: 'SUCCEEDED', owner: 'destination' } },
            Next: 'Settle',
          },
        ],
        Default: 'Verification failed',
      },
      'Verification failed': {
        Type: 'Pass',
        Assign: {
          failure: { code: 'VerifyFailed', message: js("$join($failedChecks, '; ')") },
          recoverySince: js('$states.context.State.EnteredTime'),
        },
        Next: 'Revoke the ticket',
      },

      'Nothing was touched': {
        Type: 'Pass',
        Comment: 'The VM runs on where it was.',
        Assign: { outcome: js("{ 'status': 'FAILED', 'failure': $failure }") },
        Next: 'Settle',
      },

      'Revoke the ticket': {
        Type: 'Task',
        Comment: 'Recovery begins: from here on nobody can commit a handover, unless it is committed already.',
        Resource: 'arn:aws:states:::dynamodb:updateItem',
        Arguments: {
          TableName: fn.mailboxTable,
          Key: { pk: { S: js('$admission.ticket.pk') }, sk: { S: js('$admission.ticket.sk') } },
          UpdateExpression: 'SET #state = :revoked',
          ConditionExpression: '#state IN (:open, :revoked)',
          ExpressionAttributeNames: { '#state': 'state' },
          ExpressionAttributeValues: { ':revoked': { S: 'REVOKED' }, ':open': { S: 'OPEN' } },
        },
        Assign: { round: 1 },
        Output: js("{ 'ticket': 'REVOKED' }"),
        Retry: retry({
          errors: ['DynamoDB.ProvisionedThroughputExceededException', 'DynamoDB.InternalServerError', 'States.Timeout'],
          attempts: 100,
        }),
        Catch: [
          {
            ErrorEquals: ['DynamoDB.ConditionalCheckFailedException'],
            Assign: { round: 1 },
            Output: js("{ 'ticket': 'COMMITTED' }"),
            Next: 'Inspect both hosts',
          },
        ],
        Next: 'Inspect both hosts',
      },
      'Inspect both hosts': {
        Type: 'Parallel',
        Branches: [
          inspect('source', 'Fence and inspect the source'),
          inspect('destination', 'Inspect the destination'),
        ],
        Output: js("{ 'source': $states.result[0], 'destination': $states.result[1] }"),
        Next: 'Decide who owns the VM',
      },
      'Decide who owns the VM': call(
        fn.recover,
        {
          migrationId: js('$migrationId'),
          ticket: js('$admission.ticket'),
          round: js('$round'),
          since: js('$recoverySince'),
          source: js('$states.input.source'),
          destination: js('$states.input.destination'),
        },
        {
          Comment: 'From the ticket and what both hosts proved, never from guesses.',
          Assign: { decision: js('$states.result.Payload'), round: js('$round + 1') },
          Retry: retry({ errors: ['States.ALL'], attempts: 100 }),
          Next: 'What now?',
        },
      ),
      'What now?': {
        Type: 'Choice',
        Choices: [
          {
            Condition: js("$decision.kind = 'settle' and $decision.owner = 'destination'"),
            Assign: {
              outcome: js(
                "{ 'status': $decision.ticket = 'COMMITTED' ? 'SUCCEEDED' : 'FAILED', 'owner': 'destination', 'failure': $failure }",
              ),
            },
            Next: 'Settle',
          },
          {
            Condition: js("$decision.kind = 'settle'"),
            Assign: { outcome: js("{ 'status': 'FAILED', 'owner': $decision.owner, 'failure': $failure }") },
            Next: 'Settle',
          },
          { Condition: js("$decision.kind = 'act'"), Next: 'Put it right' },
          { Condition: js("$decision.kind = 'wait'"), Next: 'Wait for evidence' },
        ],
        Default: 'Ask an operator',
      },
      'Put it right': stage(
        fn.dispatch,
        {
          ...MINE,
          stage: 'abort',
          role: js('$decision.role'),
          attempt: ATTEMPT,
          action: js('$decision.action'),
        },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment: 'One action on one host; the next look shows whether it worked.',
          Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Wait for evidence' }],
          Next: 'Inspect both hosts',
        },
      ),
      'Wait for evidence': { Type: 'Wait', Seconds: js('$decision.waitSeconds'), Next: 'Inspect both hosts' },
      'Ask an operator': {
        Type: 'Pass',
        Comment: 'The VM stays locked, nothing is resumed; the record says what was seen.',
        Assign: {
          outcome: js(
            "{ 'status': 'NEEDS_OPERATOR', 'failure': { 'code': 'NeedsOperator', 'message': $decision.why & '. It began with ' & $failure.code & ': ' & $failure.message } }",
          ),
        },
        Next: 'Settle',
      },

      Settle: call(
        fn.settle,
        { migrationId: js('$migrationId'), outcome: js('$outcome'), results: js('$results') },
        {
          Comment: 'Writes the outcome and gives back lock, slots and memory. Tried until it is done.',
          Assign: { settled: js('$states.result.Payload') },
          Retry: retry({ errors: ['States.ALL'], attempts: 1000 }),
          Next: 'How did it end?',
        },
      ),
      'How did it end?': {
        Type: 'Choice',
        Choices: [{ Condition: js("$settled.status = 'SUCCEEDED'"), Next: 'Migrated' }],
        Default: 'Not migrated',
      },
      Migrated: { Type: 'Succeed', Output: js('$settled') },
      'Not migrated': {
        Type: 'Fail',
        Error: js('$exists($settled.failure) ? $settled.failure.code : $settled.status'),
        Cause: js('$exists($settled.failure) ? $settled.failure.message : $settled.status'),
      },
    },
  };
}
