import { beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import { failure, Kit, lambdaTask, ROLE, tokenTask } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

describe('the history', () => {
  it('records every step of a task, with its data', async () => {
    kit.lambda(() => 'hello');
    const states = {
      Do: lambdaTask({ TimeoutSeconds: 60, Output: '{% $states.result.Payload %}', Assign: { v: [1] }, Next: 'Rest' }),
      Rest: { Type: 'Wait', Seconds: 2, End: true },
    };
    const { arn } = await kit.run(states, { a: 1 });
    const complete = { truncated: false };
    const lambda = { resourceType: 'lambda', resource: 'invoke' };
    const at = Date.parse('2026-01-01T00:00:00Z') / 1_000;
    expect(await kit.history(arn)).toEqual([
      {
        id: 1,
        previousEventId: 0,
        timestamp: at,
        type: 'ExecutionStarted',
        executionStartedEventDetails: { input: '{"a":1}', inputDetails: complete, roleArn: ROLE },
      },
      {
        id: 2,
        previousEventId: 0,
        timestamp: at,
        type: 'TaskStateEntered',
        stateEnteredEventDetails: { name: 'Do', input: '{"a":1}', inputDetails: complete },
      },
      {
        id: 3,
        previousEventId: 2,
        timestamp: at,
        type: 'TaskScheduled',
        taskScheduledEventDetails: {
          ...lambda,
          region: 'eu-central-1',
          parameters: '{"FunctionName":"f"}',
          timeoutInSeconds: 60,
        },
      },
      { id: 4, previousEventId: 3, timestamp: at, type: 'TaskStarted', taskStartedEventDetails: lambda },
      {
        id: 5,
        previousEventId: 4,
        timestamp: at,
        type: 'TaskSucceeded',
        taskSucceededEventDetails: {
          ...lambda,
          output: '{"ExecutedVersion":"$LATEST","Payload":"hello","StatusCode":200}',
          outputDetails: complete,
        },
      },
      {
        id: 6,
        previousEventId: 5,
        timestamp: at,
        type: 'TaskStateExited',
        stateExitedEventDetails: {
          name: 'Do',
          output: '"hello"',
          outputDetails: complete,
          assignedVariables: { v: '[1]' },
          assignedVariablesDetails: complete,
        },
      },
      {
        id: 7,
        previousEventId: 6,
        timestamp: at,
        type: 'WaitStateEntered',
        stateEnteredEventDetails: { name: 'Rest', input: '"hello"', inputDetails: complete },
      },
      {
        id: 8,
        previousEventId: 7,
        timestamp: at + 2,
        type: 'WaitStateExited',
        stateExitedEventDetails: { name: 'Rest', output: '"hello"', outputDetails: complete },
      },
      {
        id: 9,
        previousEventId: 8,
        timestamp: at + 2,
        type: 'ExecutionSucceeded',
        executionSucceededEventDetails: { output: '"hello"', outputDetails: complete },
      },
    ]);
  });

  it.each<[string, () => void, string[]]>([
    ['failed', () => kit.lambda(() => Promise.reject(failure('E'))), ['TaskScheduled', 'TaskStarted', 'TaskFailed']],
    ['timed out', () => kit.lambda(() => null), ['TaskScheduled', 'TaskStarted', 'TaskSubmitted', 'TaskTimedOut']],
  ])('records a task that %s', async (_, prepare, types) => {
    prepare();
    const { arn } = await kit.run({ Ask: tokenTask({ HeartbeatSeconds: 5 }) });
    expect(await kit.types(arn)).toEqual(['ExecutionStarted', 'TaskStateEntered', ...types, 'ExecutionFailed']);
  });

  it('links the events of each branch', async () => {
    const { arn } = await kit.run({
      Both: {
        Type: 'Parallel',
        Branches: [
          { StartAt: 'A', States: { A: { Type: 'Wait', Seconds: 2, End: true } } },
          { StartAt: 'B', States: { B: { Type: 'Wait', Seconds: 1, End: true } } },
        ],
        End: true,
      },
    });
    expect((await kit.history(arn)).map(({ type, previousEventId }) => `${type} < ${previousEventId}`)).toEqual([
      'ExecutionStarted < 0',
      'ParallelStateEntered < 0',
      'ParallelStateStarted < 2',
      'WaitStateEntered < 3',
      'WaitStateEntered < 3',
      'WaitStateExited < 5',
      'WaitStateExited < 4',
      'ParallelStateSucceeded < 7',
      'ParallelStateExited < 8',
      'ExecutionSucceeded < 9',
    ]);
  });

  it('comes in pages, forwards and backwards, and without data when asked', async () => {
    const { arn } = await kit.run({ A: { Type: 'Pass', Next: 'B' }, B: { Type: 'Pass', End: true } }, 'secret');
    const ids = async (reverseOrder: boolean) => {
      const pages: number[][] = [];
      let nextToken: string | undefined;
      do {
        const answer = await kit.call('GetExecutionHistory', {
          executionArn: arn,
          maxResults: 4,
          reverseOrder,
          ...(nextToken !== undefined && { nextToken }),
        });
        pages.push((answer.events as JsonObject[]).map(({ id }) => Number(id)));
        nextToken = answer.nextToken as string | undefined;
      } while (nextToken !== undefined);
      return pages;
    };
    expect(await ids(false)).toEqual([
      [1, 2, 3, 4],
      [5, 6],
    ]);
    expect(await ids(true)).toEqual([
      [6, 5, 4, 3],
      [2, 1],
    ]);
    const bare = await kit.history(arn, { includeExecutionData: false });
    expect(JSON.stringify(bare)).not.toContain('secret');
    expect(bare[1]).toMatchObject({ type: 'PassStateEntered', stateEnteredEventDetails: { name: 'A' } });
    await expect(kit.history(arn, { nextToken: 'bogus' })).rejects.toMatchObject({ code: 'InvalidToken' });
  });

  it('ends the execution when it is full', async () => {
    const outcome = await kit.run({
      A: { Type: 'Pass', Next: 'B' },
      B: { Type: 'Pass', Next: 'A' },
    });
    expect(outcome).toMatchObject({
      status: 'FAILED',
      error: 'States.Runtime',
      cause: 'The execution reached the maximum number of history events (25000).',
    });
    const [last] = await kit.history(outcome.arn, { reverseOrder: true, maxResults: 1 });
    expect(last).toMatchObject({ id: 25_000, type: 'ExecutionFailed' });
  });
});
