import { CAUGHT, call, type Definition, FAILED_CHECKS, js, retry, type State, stage } from './asl.ts';
import { type RecoveryParts, recoveryStates, SHORT_STAGE_SECONDS } from './recovery-states.ts';

export interface MigrateParts extends RecoveryParts {
  admit: string;
  reserveMemory: string;
  acquireCutoverSlot: string;
}

/**
 * Nine minutes: shorter than a mover keeps the end of a hold that ended by itself for the cutover's task, and far longer than a
 * hold is guaranteed for.
 */
const CUTOVER_SLOT_RETRY = { IntervalSeconds: 1, BackoffRate: 1.5, MaxDelaySeconds: 2, MaxAttempts: 270 };

/** Nothing is touched yet, and the guest runs as usual: a task that cannot be sent delays the migration by this at most. */
const OBSERVE_GUEST_DISPATCH_SECONDS = 5;

/** The execution's name is the migration's id. */
const MINE = { migrationId: js('$states.context.Execution.Name') };
/**
 * The mover itself keeps the deadline, and reports for as long as it runs; this is for one that does neither. A post-copy that has
 * begun cannot be cancelled: the rest of the memory takes as long as it takes.
 */
const CUTOVER_SECONDS = js(
  "$admission.policy.onNonConvergence = 'postcopy' ? 86400 : $admission.policy.deadlineSeconds + 300",
);

/** After so long without a report, the mover, its host or its network counts as gone. */
const HEARTBEAT = js('$admission.policy.heartbeatTimeoutSeconds');

/**
 * One VM's move. The execution's name is the migration's id, its input the request (contract/api.ts, MigrationRequest).
 * An execution that was stopped from outside settles nothing; Recover does it in its place (recover.ts).
 *
 * Before the pre-copy task nothing has been changed, and a failure only has to be settled. From then on every failure leads to
 * recovery, which proves where the VM is. Settle always runs.
 */
export function migrateDefinition(fn: MigrateParts): Definition {
  const untouched = [
    { ErrorEquals: ['States.ALL'], Assign: { failure: CAUGHT, results: {} }, Next: 'Nothing changed' },
  ];
  const touched = [
    {
      ErrorEquals: ['States.ALL'],
      Assign: { failure: CAUGHT },
      Next: 'Revoke commit record',
    },
  ];

  /** One host's branch of a stage that both hosts run in parallel. */
  const branch = (
    name: 'preflight' | 'verify',
    role: 'source' | 'destination',
    title: string,
    comment: string,
  ): { StartAt: string; States: Record<string, State> } => ({
    StartAt: title,
    States: {
      [title]: stage(
        fn.dispatch,
        { ...MINE, stage: name, role },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        { Comment: comment, Output: js('$states.result'), End: true },
      ),
    },
  });
  const CHECKS = 'Reports a list of checks, each passed or failed, with what was found.';

  /** Two states, so that a migration without disks to copy, which is the usual case, enters no state that it does not need. */
  const reserveMemory = (next: string): State =>
    call(
      fn.reserveMemory,
      {
        ...MINE,
        destination: js('$admission.destination.hostId'),
        memoryMiB: js('$guest.memoryMiB'),
        freeMemoryMiB: js('$freeMemoryMiB'),
      },
      {
        Comment: 'Promises the destination’s memory to this VM.',
        Catch: untouched,
        Next: next,
      },
    );

  return {
    Comment: 'Handoff: live-migrates one VM. Input: vm, source, destination, policy. The name is the migration id.',
    QueryLanguage: 'JSONata',
    StartAt: 'Admit',
    States: {
      Admit: call(
        fn.admit,
        {
          ...MINE,
          executionArn: js('$states.context.Execution.Id'),
          requestedAt: js('$states.context.Execution.StartTime'),
          request: js('$states.context.Execution.Input'),
        },
        {
          Comment:
            'Takes the VM’s lock, the commit record and a slot on each host in one transaction, or enters the queue.',
          Assign: { admission: js('$states.result.Payload'), results: {} },
          Catch: untouched,
          Next: 'Admitted?',
        },
      ),
      'Admitted?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$admission.admitted'), Next: 'Preflight' }],
        Default: 'Wait in queue',
      },
      'Wait in queue': {
        Type: 'Wait',
        Comment: 'A host has no slot free.',
        Seconds: js('$admission.retrySeconds'),
        Next: 'Admit',
      },

      Preflight: {
        Type: 'Parallel',
        Comment: 'Both hosts check that the VM can move, and report what they found.',
        Branches: [
          branch('preflight', 'source', 'Check the source', CHECKS),
          branch('preflight', 'destination', 'Check the destination', CHECKS),
        ],
        Assign: {
          guest: js('$exists($states.result[0].guest) ? $states.result[0].guest : {}'),
          freeMemoryMiB: js('$exists($states.result[1].freeMemoryMiB) ? $states.result[1].freeMemoryMiB : 0'),
          failedChecks: FAILED_CHECKS,
          onlyPolicyFailed: js("$states.result.checks[passed = false].name = 'policy'"),
          // Made by the source from its measurements; absent when the VM could not be measured.
          forecast: js('$exists($states.result[0].forecast) ? $states.result[0].forecast : {}'),
        },
        Output: js("{ 'source': $states.result[0], 'destination': $states.result[1] }"),
        Catch: untouched,
        Next: 'All checks passed?',
      },
      'All checks passed?': {
        Type: 'Choice',
        Choices: [
          {
            Condition: js('$admission.forecastOnly and $exists($forecast.plan)'),
            Assign: { outcome: { status: 'FORECASTED' } },
            Next: 'Settle',
          },
          {
            Condition: js(
              '$not($admission.forecastOnly) and $count($failedChecks) = 0 and $exists($forecast.plan.disks)',
            ),
            Next: 'Reserve memory (disks to copy)',
          },
          { Condition: js('$not($admission.forecastOnly) and $count($failedChecks) = 0'), Next: 'Reserve memory' },
        ],
        Default: 'Preflight refused',
      },
      'Preflight refused': {
        Type: 'Pass',
        Assign: {
          failure: {
            code: js("$onlyPolicyFailed ? 'PolicyNotMet' : 'PreflightFailed'"),
            message: js("$join($failedChecks, '; ')"),
          },
        },
        Next: 'Nothing changed',
      },
      'Reserve memory': reserveMemory('Start guest observation'),
      'Reserve memory (disks to copy)': reserveMemory('Create disk images'),
      'Create disk images': stage(
        fn.dispatch,
        { ...MINE, stage: 'storage', role: 'destination', plan: js('$forecast.plan') },
        { timeoutSeconds: SHORT_STAGE_SECONDS },
        {
          Comment: 'The destination creates an empty image for each disk that only the source has.',
          Output: js('$states.result'),
          Catch: touched,
          Next: 'Start guest observation',
        },
      ),

      'Start guest observation': call(
        fn.dispatch,
        { ...MINE, stage: 'observe-guest', role: 'destination' },
        {
          Comment:
            'The destination observes when the guest answers there. No state waits for its report, or fails with it.',
          TimeoutSeconds: OBSERVE_GUEST_DISPATCH_SECONDS,
          Retry: [],
          Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Pre-copy' }],
          Next: 'Pre-copy',
        },
      ),
      'Pre-copy': stage(
        fn.dispatch,
        { ...MINE, stage: 'precopy', role: 'source', plan: js('$forecast.plan') },
        // The mover itself keeps the deadline; this is for a mover that does not.
        { timeoutSeconds: js('$admission.policy.deadlineSeconds + 300'), heartbeatSeconds: HEARTBEAT },
        {
          Comment: 'Copies the memory while the guest runs, and holds before the cutover.',
          Assign: { results: js("{ 'precopy': $states.result }") },
          Output: js('$states.result'),
          Catch: touched,
          Next: 'Cutover completed?',
        },
      ),
      'Cutover completed?': {
        Type: 'Choice',
        Comment: 'An idle guest converges despite the brake; its handover is committed and completed.',
        Choices: [{ Condition: js("$results.precopy.precopy = 'completed'"), Next: 'Verify' }],
        Default: 'Acquire cutover slot',
      },
      'Acquire cutover slot': call(
        fn.acquireCutoverSlot,
        { ...MINE },
        {
          Comment:
            'Limits concurrent cutovers on each host, and waits for the request where the policy says manual. The copy is held meanwhile.',
          Retry: [{ ErrorEquals: ['NotYet'], ...CUTOVER_SLOT_RETRY }, ...retry()],
          Catch: touched,
          Next: 'Cut over',
        },
      ),
      'Cut over': stage(
        fn.dispatch,
        { ...MINE, stage: 'cutover', role: 'source' },
        { timeoutSeconds: CUTOVER_SECONDS, heartbeatSeconds: HEARTBEAT },
        {
          Comment:
            'Releases the brake; the commit record is committed while both sides are paused; the VM starts at the destination.',
          Assign: { results: js("$merge([$results, { 'cutover': $states.result }])") },
          Output: js('$states.result'),
          Catch: touched,
          Next: 'Verify',
        },
      ),
      Verify: {
        Type: 'Parallel',
        Comment: 'Needs positive evidence from both hosts.',
        Branches: [
          branch('verify', 'source', 'Verify the source', 'The copy left on the source is gone.'),
          branch(
            'verify',
            'destination',
            'Verify the destination',
            'The VM runs: its vCPUs advance, its disks are open, its interfaces are on their bridges.',
          ),
        ],
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
        },
        Next: 'Revoke commit record',
      },

      'Nothing changed': {
        Type: 'Pass',
        Comment: 'The VM continues to run at the source.',
        Assign: { outcome: js("{ 'status': 'FAILED', 'failure': $failure }") },
        Next: 'Settle',
      },

      ...recoveryStates(fn, { ...MINE, execution: '0', settled: 'Route outcome' }),
      'Route outcome': {
        Type: 'Choice',
        Choices: [
          { Condition: js("$settled.status = 'SUCCEEDED'"), Next: 'Migrated' },
          { Condition: js("$settled.status = 'FORECASTED'"), Next: 'Forecast made' },
        ],
        Default: 'Not migrated',
      },
      Migrated: { Type: 'Succeed', Output: js('$settled') },
      'Forecast made': { Type: 'Succeed', Comment: 'Nothing was reserved, and nothing moved.', Output: js('$settled') },
      'Not migrated': {
        Type: 'Fail',
        Error: js('$exists($settled.failure) ? $settled.failure.code : $settled.status'),
        Cause: js('$exists($settled.failure) ? $settled.failure.message : $settled.status'),
      },
    },
  };
}
