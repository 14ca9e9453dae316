import { beforeEach, describe, expect, it } from 'vitest';
import { AwsError, type Json, type JsonObject, notImplemented } from '../../../../embedded-aws/core/service.ts';
import { failure, Kit, lambdaTask, ROLE } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

const call = (action: string, Arguments: Json, rest: JsonObject = {}): JsonObject => ({
  Do: { Type: 'Task', Resource: `arn:aws:states:::${action}`, Arguments, End: true, ...rest },
});
const refusing =
  (code: string, message = 'no', status = 400) =>
  () => {
    throw new AwsError(code, message, status);
  };

describe('lambda:invoke', () => {
  it("sends the payload as JSON text, as the machine's role, and gives version, payload and status", async () => {
    kit.lambda((payload) => ({ got: payload }));
    const outcome = await kit.run(
      call('lambda:invoke', { FunctionName: 'f', Payload: { a: '{% $states.input.x %}' } }),
      {
        x: 1,
      },
    );
    expect(outcome.output).toEqual({ ExecutedVersion: '$LATEST', Payload: { got: { a: 1 } }, StatusCode: 200 });
    expect(kit.calls).toEqual([
      { service: 'lambda', operation: 'Invoke', input: { FunctionName: 'f', Payload: '{"a":1}' }, caller: ROLE },
    ]);
  });

  it("fails with the name of the function's error, and Lambda's error object as cause", async () => {
    kit.lambda(() => {
      throw failure('HostBusy', 'no slot');
    });
    const outcome = await kit.run(call('lambda:invoke', { FunctionName: 'f' }));
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'HostBusy' });
    expect(JSON.parse(outcome.cause!)).toEqual({ errorType: 'HostBusy', errorMessage: 'no slot' });
  });

  it.each<[string, string]>([
    ['TooManyRequestsException', 'Lambda.TooManyRequestsException'],
    ['ServiceException', 'Lambda.ServiceException'],
    ['ResourceNotFoundException', 'Lambda.ResourceNotFoundException'],
    ['AccessDeniedException', 'Lambda.AWSLambdaException'],
  ])('names the refusal %s %s', async (code, error) => {
    kit.on('lambda', 'Invoke', refusing(code, 'slow down', 429));
    expect(await kit.run(call('lambda:invoke', { FunctionName: 'f' }))).toMatchObject({
      error,
      cause: 'slow down (Service: Lambda, Status Code: 429)',
    });
  });

  it('lets nothing catch what the embedded AWS does not implement', async () => {
    kit.on('lambda', 'Invoke', () => {
      throw notImplemented('layers');
    });
    const outcome = await kit.run({
      Do: lambdaTask({ Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }] }),
      Caught: { Type: 'Succeed' },
    });
    expect(outcome).toMatchObject({ error: 'States.Runtime', cause: 'The embedded AWS does not implement layers.' });
  });
});

describe('dynamodb', () => {
  it('passes arguments and result through', async () => {
    kit.on('dynamodb', 'GetItem', (input) => ({ Item: { ...(input.Key as JsonObject), n: { N: '1' } } }));
    const outcome = await kit.run(call('dynamodb:getItem', { TableName: 't', Key: { pk: { S: 'a' } } }));
    expect(outcome.output).toEqual({ Item: { pk: { S: 'a' }, n: { N: '1' } } });
  });

  it.each<[string, string, string]>([
    ['dynamodb:updateItem', 'ConditionalCheckFailedException', 'DynamoDB.ConditionalCheckFailedException'],
    ['dynamodb:updateItem', 'ValidationException', 'DynamoDB.AmazonDynamoDBException'],
    ['aws-sdk:dynamodb:updateItem', 'ConditionalCheckFailedException', 'DynamoDb.ConditionalCheckFailedException'],
    ['aws-sdk:dynamodb:updateItem', 'AccessDeniedException', 'DynamoDb.DynamoDbException'],
  ])('%s names %s %s', async (action, code, error) => {
    kit.on('dynamodb', 'UpdateItem', refusing(code));
    expect(await kit.run(call(action, {}))).toMatchObject({ status: 'FAILED', error });
  });
});

describe('events:putEvents', () => {
  it('sends a JSON detail as text and adds execution and machine to the resources', async () => {
    kit.on('events', 'PutEvents', () => ({ FailedEntryCount: 0, Entries: [{ EventId: 'e' }] }));
    const entry = { Source: 's', DetailType: 'd', Detail: { a: 1 }, Resources: ['r'] };
    const outcome = await kit.run(call('events:putEvents', { Entries: [entry] }));
    expect(outcome.output).toEqual({ FailedEntryCount: 0, Entries: [{ EventId: 'e' }] });
    const machine = outcome.arn.replace(':execution:', ':stateMachine:').replace(/:[^:]*$/, '');
    expect(kit.calls[0]!.input).toEqual({
      Entries: [{ ...entry, Detail: '{"a":1}', Resources: ['r', outcome.arn, machine] }],
    });
  });

  it('fails when an entry failed', async () => {
    const answer = { FailedEntryCount: 1, Entries: [{ ErrorCode: 'InternalFailure' }] };
    kit.on('events', 'PutEvents', () => answer);
    const outcome = await kit.run(call('events:putEvents', { Entries: [{}] }));
    expect(outcome).toMatchObject({ error: 'EventBridge.FailedEntry', cause: JSON.stringify(answer) });
  });
});

describe('aws-sdk', () => {
  it('calls any action of a service, with timestamps in the result as ISO 8601', async () => {
    kit.on('ssm', 'SendCommand', () => ({ Command: { CommandId: 'c', RequestedDateTime: 1_767_225_600.5 } }));
    const outcome = await kit.run(call('aws-sdk:ssm:sendCommand', { DocumentName: 'd', InstanceIds: ['mi-1'] }));
    expect(outcome.output).toEqual({ Command: { CommandId: 'c', RequestedDateTime: '2026-01-01T00:00:00.500Z' } });
    expect(kit.calls[0]!.input).toEqual({ DocumentName: 'd', InstanceIds: ['mi-1'] });
  });

  it.each([
    ['InvalidInstanceId', 'Ssm.InvalidInstanceIdException'],
    ['ThrottlingException', 'Ssm.SsmException'],
  ])('names %s %s', async (code, error) => {
    kit.on('ssm', 'SendCommand', refusing(code));
    expect(await kit.run(call('aws-sdk:ssm:sendCommand', {}))).toMatchObject({ error });
  });

  it("translates PascalCase to the states API's camelCase and back", async () => {
    const child = await kit.machine({ A: { Type: 'Succeed' } });
    const outcome = await kit.run(
      call('aws-sdk:sfn:startExecution', { StateMachineArn: child, Name: 'n', Input: '{}' }),
    );
    expect(outcome.output).toEqual({
      ExecutionArn: `${child.replace('stateMachine', 'execution')}:n`,
      StartDate: '2026-01-01T00:00:00.000Z',
    });
    expect(await kit.run(call('aws-sdk:sfn:describeExecution', { ExecutionArn: `${child}:x` }))).toMatchObject({
      error: 'Sfn.InvalidArnException',
    });
  });

  it('waits for a token, too', async () => {
    let token = '';
    kit.on('dynamodb', 'UpdateItem', (input) => {
      token = String(input.Token);
      return {};
    });
    const arn = await kit.start(
      await kit.machine(
        call('aws-sdk:dynamodb:updateItem.waitForTaskToken', { Token: '{% $states.context.Task.Token %}' }),
      ),
    );
    await kit.call('SendTaskSuccess', { taskToken: token, output: '7' });
    await kit.clock.settle();
    expect(await kit.outcome(arn)).toMatchObject({ status: 'SUCCEEDED', output: 7 });
  });
});

describe('states:startExecution', () => {
  const child = (states: JsonObject = { A: { Type: 'Wait', Seconds: 10, Output: { done: true }, End: true } }) =>
    kit.machine(states);

  it('answers as soon as the child has started', async () => {
    const StateMachineArn = await child();
    const arn = await kit.start(
      await kit.machine(call('states:startExecution', { StateMachineArn, Name: 'kid', Input: { a: 1 } })),
    );
    const { status, output } = await kit.outcome(arn);
    expect(status).toBe('SUCCEEDED');
    const kid = await kit.outcome((output as JsonObject).ExecutionArn as string);
    expect(kid.status).toBe('RUNNING');
    expect(kit.calls[0]).toMatchObject({ operation: 'StartExecution', input: { input: '{"a":1}' }, caller: ROLE });
  });

  it.each<[string, Json, Json]>([
    ['.sync', '{"a":1}', '{"done":true}'],
    ['.sync:2', { a: 1 }, { done: true }],
  ])('%s waits for the child and gives what became of it', async (suffix, Input, Output) => {
    const StateMachineArn = await child();
    const outcome = await kit.run(
      call(`states:startExecution${suffix}`, { StateMachineArn, Name: 'kid', Input: { a: 1 } }),
    );
    expect(outcome.output).toEqual({
      ExecutionArn: `${StateMachineArn.replace('stateMachine', 'execution')}:kid`,
      StateMachineArn,
      Name: 'kid',
      Status: 'SUCCEEDED',
      StartDate: Date.parse('2026-01-01T00:00:00Z'),
      StopDate: Date.parse('2026-01-01T00:00:10Z'),
      Input,
      InputDetails: { Included: true },
      Output,
      OutputDetails: { Included: true },
    });
  });

  it('.sync:2 fails with States.TaskFailed when the child fails', async () => {
    const StateMachineArn = await child({ A: { Type: 'Fail', Error: 'E', Cause: 'c' } });
    const outcome = await kit.run(call('states:startExecution.sync:2', { StateMachineArn }));
    expect(outcome.error).toBe('States.TaskFailed');
    expect(JSON.parse(outcome.cause!)).toMatchObject({ Status: 'FAILED', Error: 'E', Cause: 'c' });
  });

  it.each<[string, (parent: string) => Promise<unknown>]>([
    ['is stopped', (executionArn) => kit.call('StopExecution', { executionArn })],
    ['times out', () => kit.clock.advance(5_000)],
  ])('.sync stops the child when the task %s', async (_, end) => {
    const StateMachineArn = await child({ A: { Type: 'Wait', Seconds: 1_000, End: true } });
    const states = call('states:startExecution.sync', { StateMachineArn, Name: 'kid' }, { TimeoutSeconds: 5 });
    await end(await kit.start(await kit.machine(states)));
    await kit.clock.settle();
    const kid = await kit.outcome(`${StateMachineArn.replace('stateMachine', 'execution')}:kid`);
    expect([kid.status, kit.clock.pending]).toEqual(['ABORTED', 0]);
  });

  it('names the refusal of a name taken', async () => {
    const StateMachineArn = await child({ A: { Type: 'Succeed' } });
    await kit.start(StateMachineArn, {}, 'kid');
    expect(await kit.run(call('states:startExecution', { StateMachineArn, Name: 'kid' }))).toMatchObject({
      error: 'StepFunctions.ExecutionAlreadyExistsException',
    });
  });
});
