import { HOSTS } from '../../lambdas/platform/control-keys.ts';
import { CAUGHT, call, type Definition, js, type State, stage } from './asl.ts';

export interface EvacuateParts {
  beginEvacuation: string;
  planEvacuation: string;
  dispatch: string;
  migrateMachine: string;
  controlTable: string;
}

/** Migrations under way at once; the slots of the hosts limit them further. */
const CONCURRENT = 4;
/** With the waits in between: about ten minutes for VMs that are busy, are arriving at the host, or find every candidate full. */
const MAX_ROUNDS = 30;

/** Refusals that another candidate may not repeat; after any other failure the VM stays where it runs, for an operator. */
const ANOTHER_HOST_MAY_TAKE_IT = ['PreflightFailed', 'MemoryTaken', 'HostNotAccepting', 'HostBusy', 'UnknownHost'];
/** Refusals that pass by themselves. */
const LATER = ['VmBusy', 'HostBusy'];

const list = (values: readonly string[]): string => `[${values.map((value) => `'${value}'`).join(', ')}]`;

/**
 * Empties a host: cordons it, moves every VM found running there, and marks it IN_MAINTENANCE only when its own libvirt shows
 * that nothing runs there any more. Input: host, policy, reason (contract/api.ts, EvacuationRequest). No VM is ever stopped.
 */
export function evacuateDefinition(fn: EvacuateParts): Definition {
  const listVms = (rest: Record<string, unknown>): State =>
    stage(
      fn.dispatch,
      {
        migrationId: js('$states.context.Execution.Name'),
        stage: 'inspect',
        role: 'source',
        hostId: js('$host'),
        attempt: js('$round'),
      },
      { timeoutSeconds: 90 },
      { Output: js('$states.result'), Catch: giveUp, ...rest },
    );
  const giveUp = [{ ErrorEquals: ['States.ALL'], Assign: { failure: CAUGHT }, Next: 'Release the host' }];
  const mine = {
    ConditionExpression: 'evacuation = :me',
    ExpressionAttributeValues: { ':me': { S: js('$states.context.Execution.Id') } },
  };
  const hostItem = { TableName: fn.controlTable, Key: { pk: { S: HOSTS }, sk: { S: js('$host') } } };

  return {
    Comment: 'Handoff: empties a host. Input: host, policy, reason. Each VM is a child execution of Migrate.',
    QueryLanguage: 'JSONata',
    StartAt: 'Cordon the host',
    States: {
      'Cordon the host': call(
        fn.beginEvacuation,
        { executionArn: js('$states.context.Execution.Id'), request: js('$states.input') },
        {
          Comment: 'No VM is moved to it any more. A second evacuation of the same host ends here.',
          Assign: {
            begun: js('$states.result.Payload'),
            host: js('$states.result.Payload.host'),
            round: 1,
            moved: [],
            stays: [],
            left: [],
          },
          Next: 'Already being evacuated?',
        },
      ),
      'Already being evacuated?': {
        Type: 'Choice',
        Choices: [{ Condition: js('$begun.begun'), Next: 'List the VMs' }],
        Default: 'Duplicate evacuation',
      },
      'Duplicate evacuation': {
        Type: 'Succeed',
        Comment: 'Another execution empties this host.',
        Output: js('$begun'),
      },

      'List the VMs': listVms({
        Comment: "Asks the host's libvirt, not a record of the control plane.",
        Assign: { domains: js('[$states.result.domains]') },
        Next: 'Plan',
      }),
      Plan: call(
        fn.planEvacuation,
        { host: js('$host'), domains: js('$domains') },
        {
          Comment: 'Which hosts each VM may try, in which order.',
          Assign: { stays: js('[$states.result.Payload.stays]') },
          Catch: giveUp,
          Next: 'Move each VM',
        },
      ),
      'Move each VM': {
        Type: 'Map',
        Items: js('[$states.input.moves[$not(vm in $left[final].vm)]]'),
        MaxConcurrency: CONCURRENT,
        ItemProcessor: { ProcessorConfig: { Mode: 'INLINE' }, ...moveOne(fn) },
        Assign: {
          moved: js('[$moved, $states.result[moved]]'),
          left: js('[$left[final], $states.result[$not(moved)]]'),
          round: js('$round + 1'),
        },
        Output: js('$states.result'),
        Catch: giveUp,
        Next: 'List arriving VMs',
      },
      'List arriving VMs': {
        Type: 'Task',
        Resource: 'arn:aws:states:::dynamodb:getItem',
        Comment:
          'A VM that was admitted before the host was cordoned may not be there yet. Read first, so that the list of VMs that follows includes those that have arrived.',
        Arguments: { ...hostItem, ConsistentRead: true },
        Assign: { arriving: js('[$states.result.Item.incoming.SS]') },
        Catch: giveUp,
        Next: 'List the remaining VMs',
      },
      'List the remaining VMs': listVms({
        Comment: 'Is anything left running there?',
        Assign: { remaining: js("[$states.result.domains[$not(state in ['shutoff', 'absent'])].name]") },
        Next: 'Empty?',
      }),
      'Empty?': {
        Type: 'Choice',
        Choices: [
          { Condition: js('$count($remaining) = 0 and $count($arriving) = 0'), Next: 'Mark IN_MAINTENANCE' },
          {
            // VMs that were busy or had to wait, that have arrived since the first list, or will arrive.
            Condition: js(
              `$round < ${MAX_ROUNDS} and ($count($arriving) > 0 or $count($remaining[$not($ in $left[final].vm)]) > 0)`,
            ),
            Next: 'Wait for busy VMs',
          },
        ],
        Default: 'Not emptied',
      },
      'Wait for busy VMs': { Type: 'Wait', Seconds: 20, Assign: { round: js('$round + 1') }, Next: 'List the VMs' },

      'Mark IN_MAINTENANCE': {
        Type: 'Task',
        Resource: 'arn:aws:states:::dynamodb:updateItem',
        Comment: 'Unless the host was uncordoned meanwhile, or a VM was admitted.',
        Arguments: {
          ...hostItem,
          UpdateExpression: 'SET #state = :maintenance REMOVE evacuation',
          ConditionExpression: `${mine.ConditionExpression} AND #state = :cordoned AND attribute_not_exists(#incoming)`,
          ExpressionAttributeNames: { '#state': 'state', '#incoming': 'incoming' },
          ExpressionAttributeValues: {
            ...mine.ExpressionAttributeValues,
            ':maintenance': { S: 'IN_MAINTENANCE' },
            ':cordoned': { S: 'CORDONED' },
          },
        },
        Output: js("{ 'host': $host, 'state': 'IN_MAINTENANCE', 'moved': $moved, 'stays': $stays }"),
        Catch: [
          {
            ErrorEquals: ['DynamoDB.ConditionalCheckFailedException'],
            Assign: {
              failure: {
                code: 'HostNotEmptied',
                message: 'The host was uncordoned, or a VM was admitted to it, while it was being emptied.',
              },
            },
            Next: 'Release the host',
          },
          ...giveUp,
        ],
        Next: 'Emptied',
      },
      Emptied: { Type: 'Succeed' },

      'Not emptied': {
        Type: 'Pass',
        Comment: 'What could not be moved continues to run here; the host stays cordoned.',
        Assign: {
          failure: js(
            "{ 'code': 'HostNotEmptied', 'message': $join([" +
              "$count($remaining) > 0 ? $string($count($remaining)) & ' VM(s) left running: ' & " +
              '$join($map($remaining, function($name) { ($why := $left[vm = $name][-1].why; ' +
              "$name & ($exists($why) ? ' - ' & $why : '')) }), ' | '), " +
              "$count($arriving) > 0 ? 'arriving here: ' & $join($arriving, ', ')" +
              "], '; ') }",
          ),
        },
        Next: 'Release the host',
      },
      'Release the host': {
        Type: 'Task',
        Resource: 'arn:aws:states:::dynamodb:updateItem',
        Arguments: { ...hostItem, UpdateExpression: 'REMOVE evacuation', ...mine },
        Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Not in maintenance' }],
        Next: 'Not in maintenance',
      },
      'Not in maintenance': { Type: 'Fail', Error: js('$failure.code'), Cause: js('$failure.message') },
    },
  };
}

/** Tries one VM's candidates in turn. Ends with { vm, moved, to } or { vm, moved: false, final, why }; it never fails. */
function moveOne(fn: EvacuateParts): { StartAt: string; States: Record<string, State> } {
  return {
    StartAt: 'Start with the first candidate',
    States: {
      'Start with the first candidate': {
        Type: 'Pass',
        Assign: { move: js('$states.input'), tried: 0, refusals: [], last: 'None' },
        Next: 'Another candidate?',
      },
      'Another candidate?': {
        Type: 'Choice',
        Choices: [
          {
            Condition: js('$tried < $count($move.candidates)'),
            Assign: {
              destination: js('$move.candidates[$tried]'),
              // Chosen before the start, so that a repeated start is the same execution.
              child: js("$move.name & '-' & $substring($replace($uuid(), '-', ''), 0, 10)"),
            },
            Next: 'Migrate',
          },
        ],
        Default: 'Left running',
      },
      Migrate: {
        Type: 'Task',
        Resource: 'arn:aws:states:::states:startExecution.sync:2',
        Arguments: {
          StateMachineArn: fn.migrateMachine,
          Name: js('$child'),
          Input: {
            vm: js('$move.vm'),
            source: js('$host'),
            destination: js('$destination'),
            policy: js('$begun.policy'),
            reason: js('$begun.reason'),
            AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: js('$states.context.Execution.Id'),
          },
        },
        Output: js(
          "{ 'vm': $move.vm, 'moved': true, 'to': $destination, 'migrationId': $child, 'result': $states.result.Output.result }",
        ),
        Catch: [
          {
            ErrorEquals: ['States.ALL'],
            Assign: {
              tried: js('$tried + 1'),
              last: js(CHILD_ERROR),
              refusals: js(`[$refusals, $destination & ': ' & ${CHILD_ERROR} & ': ' & ${CHILD_CAUSE}]`),
            },
            Next: 'May another host take it?',
          },
        ],
        End: true,
      },
      'May another host take it?': {
        Type: 'Choice',
        Choices: [{ Condition: js(`$last in ${list(ANOTHER_HOST_MAY_TAKE_IT)}`), Next: 'Another candidate?' }],
        Default: 'Left running',
      },
      'Left running': {
        Type: 'Pass',
        Comment: 'Lists why each candidate refused it.',
        Output: js(
          `{ 'vm': $move.vm, 'moved': false, 'final': $not($last in ${list(LATER)}), ` +
            "'why': $count($refusals) = 0 ? 'no other host takes VMs' : $join($refusals, '; ') }",
        ),
        End: true,
      },
    },
  };
}

/** A failed child execution comes as States.TaskFailed, with its description as JSON; anything else is its own error. */
const CHILD_ERROR =
  "($states.errorOutput.Error = 'States.TaskFailed' ? $parse($states.errorOutput.Cause).Error : $states.errorOutput.Error)";
const CHILD_CAUSE =
  "($states.errorOutput.Error = 'States.TaskFailed' ? $parse($states.errorOutput.Cause).Cause : $states.errorOutput.Cause)";
