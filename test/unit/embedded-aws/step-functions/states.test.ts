import { beforeEach, describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../../embedded-aws/core/service.ts';
import { Kit, lambdaTask } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

describe('Pass', () => {
  it('hands its input on, or its Output with expressions evaluated at any depth', async () => {
    const outcome = await kit.run(
      {
        A: { Type: 'Pass', Next: 'B' },
        B: { Type: 'Pass', Output: { list: [1, '{% $states.input.x + 1 %}'], text: 'plain' }, End: true },
      },
      { x: 41 },
    );
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: { list: [1, 42], text: 'plain' } });
  });

  it('evaluates Output and Assign against what held on entry; a new value shows from the next state on', async () => {
    const outcome = await kit.run({
      A: { Type: 'Pass', Assign: { v: 1 }, Next: 'B' },
      B: { Type: 'Pass', Assign: { v: 2, w: '{% $v + 10 %}' }, Output: { seen: '{% $v %}' }, Next: 'C' },
      C: { Type: 'Pass', Output: '{% [$states.input.seen, $v, $w] %}', End: true },
    });
    expect(outcome.output).toEqual([1, 2, 11]);
  });

  it('sees the context object', async () => {
    const arn = await kit.machine({
      Look: { Type: 'Pass', Output: '{% $states.context %}', End: true },
    });
    const execution = await kit.start(arn, { a: 1 }, 'run-1');
    expect((await kit.outcome(execution)).output).toEqual({
      Execution: {
        Id: execution,
        Input: { a: 1 },
        Name: 'run-1',
        RoleArn: 'arn:aws:iam::123456789012:role/machine',
        StartTime: '2026-01-01T00:00:00.000Z',
        RedriveCount: 0,
      },
      StateMachine: { Id: arn, Name: 'machine-1' },
      State: { EnteredTime: '2026-01-01T00:00:00.000Z', Name: 'Look', RetryCount: 0 },
    });
  });
});

describe('Choice', () => {
  const choice = (rest: JsonObject = {}): JsonObject => ({
    Pick: {
      Type: 'Choice',
      Choices: [
        { Condition: '{% $states.input.n > 10 %}', Next: 'Big', Output: 'big', Assign: { by: 'rule' } },
        { Condition: '{% $states.input.n > 5 %}', Next: 'Big' },
      ],
      ...rest,
    },
    Big: { Type: 'Pass', Output: '{% {"in": $states.input, "by": $exists($by) ? $by : "none"} %}', End: true },
  });

  it.each<[number, Json]>([
    [11, { in: 'big', by: 'rule' }],
    [7, { in: { n: 7 }, by: 'none' }],
  ])('takes the first rule that holds, with its Output and Assign (n = %i)', async (n, output) => {
    expect((await kit.run(choice(), { n })).output).toEqual(output);
  });

  it("takes Default with the state's own Output and Assign", async () => {
    const states = choice({ Default: 'Big', Output: 'small', Assign: { by: 'default' } });
    expect((await kit.run(states, { n: 1 })).output).toEqual({ in: 'small', by: 'default' });
  });

  it('fails with States.NoChoiceMatched when nothing holds', async () => {
    expect(await kit.run(choice(), { n: 1 })).toMatchObject({ status: 'FAILED', error: 'States.NoChoiceMatched' });
  });

  it('fails when a condition is not a boolean', async () => {
    const outcome = await kit.run({
      Pick: { Type: 'Choice', Choices: [{ Condition: '{% 1 %}', Next: 'Done' }] },
      Done: { Type: 'Succeed' },
    });
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.QueryEvaluationError' });
    expect(outcome.cause).toContain("'Choices/0/Condition' must be true or false, not 1");
  });
});

describe('Wait', () => {
  it.each<[string, JsonObject, number]>([
    ['constant seconds', { Seconds: 90 }, 90],
    ['seconds from an expression', { Seconds: '{% $states.input.wait * 2 %}' }, 20],
    ['a timestamp', { Timestamp: '2026-01-01T01:00:00Z' }, 3_600],
    ['a timestamp from an expression', { Timestamp: '{% $states.input.at %}' }, 5],
    ['a timestamp that is past', { Timestamp: '2025-01-01T00:00:00Z' }, 0],
    ['a month, longer than a Node timer lasts', { Seconds: 2_592_000 }, 2_592_000],
  ])('waits for %s', async (_, fields, seconds) => {
    const input = { wait: 10, at: '2026-01-01T01:00:05+01:00' };
    const outcome = await kit.run({ Rest: { Type: 'Wait', ...fields, End: true } }, input);
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: input });
    expect(kit.elapsed()).toBe(seconds);
  });

  it.each([
    ['Seconds', { Seconds: '{% -1 %}' }],
    ['Seconds', { Seconds: '{% "soon" %}' }],
    ['Seconds', { Seconds: '{% 100000000 %}' }],
    ['Timestamp', { Timestamp: '{% "tomorrow" %}' }],
  ])('fails on a %s it cannot take: %j', async (field, fields) => {
    const outcome = await kit.run({ Rest: { Type: 'Wait', ...fields, End: true } });
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.QueryEvaluationError' });
    expect(outcome.cause).toContain(`'${field}'`);
  });
});

describe('Succeed and Fail', () => {
  it('ends with the Output of Succeed', async () => {
    expect(
      await kit.run({ Done: { Type: 'Succeed', Output: { ok: '{% $states.input.a %}' } } }, { a: 1 }),
    ).toMatchObject({ status: 'SUCCEEDED', output: { ok: 1 } });
  });

  it('ends with the evaluated Error and Cause of Fail', async () => {
    const states = { No: { Type: 'Fail', Error: '{% "E" & $states.input.n %}', Cause: 'because' } };
    expect(await kit.run(states, { n: 7 })).toMatchObject({ status: 'FAILED', error: 'E7', cause: 'because' });
  });
});

describe('Parallel', () => {
  it('gives every branch the input (or Arguments) and collects the outputs in order', async () => {
    const outcome = await kit.run(
      {
        Both: {
          Type: 'Parallel',
          Arguments: { n: '{% $states.input.n %}' },
          Branches: [
            { StartAt: 'Slow', States: { Slow: { Type: 'Wait', Seconds: 5, End: true } } },
            { StartAt: 'Fast', States: { Fast: { Type: 'Pass', Output: '{% $states.input.n + 1 %}', End: true } } },
          ],
          Output: '{% $states.result %}',
          Assign: { second: '{% $states.result[1] %}' },
          Next: 'After',
        },
        After: { Type: 'Pass', Output: '{% {"all": $states.input, "second": $second} %}', End: true },
      },
      { n: 1, more: true },
    );
    expect(outcome.output).toEqual({ all: [{ n: 1 }, 2], second: 2 });
    expect(kit.elapsed()).toBe(5);
  });

  it('reads outer variables in a branch; a variable of a branch ends with it', async () => {
    const outcome = await kit.run({
      Set: { Type: 'Pass', Assign: { outer: 'o' }, Next: 'Both' },
      Both: {
        Type: 'Parallel',
        Branches: [
          {
            StartAt: 'In',
            States: {
              In: { Type: 'Pass', Assign: { inner: '{% $outer & "i" %}' }, Next: 'Read' },
              Read: { Type: 'Pass', Output: '{% $inner %}', End: true },
            },
          },
        ],
        Next: 'After',
      },
      After: { Type: 'Pass', Output: '{% {"out": $states.input, "inner": $exists($inner)} %}', End: true },
    });
    expect(outcome.output).toEqual({ out: ['oi'], inner: false });
  });

  it('aborts the siblings of a branch that fails, and leaves nothing running', async () => {
    let token = '';
    kit.lambda((payload) => {
      token = (payload as { token: string }).token;
      return null;
    });
    const outcome = await kit.run({
      Both: {
        Type: 'Parallel',
        Branches: [
          { StartAt: 'Long', States: { Long: { Type: 'Wait', Seconds: 1_000, End: true } } },
          {
            StartAt: 'Ask',
            States: {
              Ask: {
                Type: 'Task',
                Resource: 'arn:aws:states:::lambda:invoke.waitForTaskToken',
                Arguments: { FunctionName: 'f', Payload: { token: '{% $states.context.Task.Token %}' } },
                TimeoutSeconds: 5_000,
                End: true,
              },
            },
          },
          {
            StartAt: 'Soon',
            States: { Soon: { Type: 'Wait', Seconds: 3, Next: 'No' }, No: { Type: 'Fail', Error: 'Broken' } },
          },
        ],
        Catch: [{ ErrorEquals: ['Broken'], Output: '{% $states.errorOutput %}', Next: 'Caught' }],
        End: true,
      },
      Caught: { Type: 'Succeed' },
    });
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: { Error: 'Broken' } });
    expect([kit.elapsed(), kit.clock.pending]).toEqual([3, 0]);
    await expect(kit.call('SendTaskSuccess', { taskToken: token, output: '1' })).rejects.toMatchObject({
      code: 'TaskTimedOut',
    });
    const types = await kit.types(outcome.arn);
    expect(types.slice(types.indexOf('FailStateEntered'))).toEqual([
      'FailStateEntered',
      'WaitStateAborted',
      'TaskStateAborted',
      'ParallelStateFailed',
      'ParallelStateExited',
      'SucceedStateEntered',
      'SucceedStateExited',
      'ExecutionSucceeded',
    ]);
  });
});

describe('Map', () => {
  it('runs the processor over the items, selected by ItemSelector, in order', async () => {
    const outcome = await kit.run(
      {
        Each: {
          Type: 'Map',
          Items: '{% $states.input.names %}',
          ItemSelector: { name: '{% $states.context.Map.Item.Value %}', at: '{% $states.context.Map.Item.Index %}' },
          ItemProcessor: {
            ProcessorConfig: { Mode: 'INLINE' },
            StartAt: 'One',
            States: {
              One: { Type: 'Pass', Output: '{% $states.input.name & $string($states.input.at) %}', End: true },
            },
          },
          End: true,
        },
      },
      { names: ['a', 'b', 'c'] },
    );
    expect(outcome.output).toEqual(['a0', 'b1', 'c2']);
  });

  it.each([
    ['without a limit', undefined, 10],
    ['two at a time', 2, 30],
    ['one at a time', '{% $count($states.input) - 5 %}', 60],
  ])('runs iterations %s', async (_, MaxConcurrency, seconds) => {
    await kit.run(
      {
        Each: {
          Type: 'Map',
          ...(MaxConcurrency !== undefined && { MaxConcurrency }),
          ItemProcessor: { StartAt: 'Rest', States: { Rest: { Type: 'Wait', Seconds: 10, End: true } } },
          End: true,
        },
      },
      [1, 2, 3, 4, 5, 6],
    );
    expect(kit.elapsed()).toBe(seconds);
  });

  it('never runs more than 40 at a time', async () => {
    let running = 0;
    let most = 0;
    kit.lambda(async () => {
      most = Math.max(most, ++running);
      await kit.clock.sleep(1_000);
      running -= 1;
      return null;
    });
    const outcome = await kit.run(
      { Each: { Type: 'Map', ItemProcessor: { StartAt: 'Do', States: { Do: lambdaTask() } }, End: true } },
      Array.from({ length: 90 }, (_, index) => index),
    );
    expect([outcome.status, most, kit.elapsed()]).toEqual(['SUCCEEDED', 40, 3]);
  });

  it('fails with the first failing iteration and aborts the others', async () => {
    kit.lambda(async (payload) => {
      await kit.clock.sleep(1_000);
      if (payload === 2) throw Object.assign(new Error('two'), { name: 'Two' });
      await kit.clock.sleep(9_000);
      return null;
    });
    const outcome = await kit.run(
      {
        Each: {
          Type: 'Map',
          MaxConcurrency: 3,
          ItemProcessor: {
            StartAt: 'Do',
            States: { Do: lambdaTask({ Arguments: { FunctionName: 'f', Payload: '{% $states.input %}' } }) },
          },
          End: true,
        },
      },
      [1, 2, 3, 4],
    );
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'Two' });
    expect(kit.calls).toHaveLength(3);
    const iterations = (await kit.history(outcome.arn)).filter(({ type }) => type.startsWith('MapIteration'));
    expect(iterations.map(({ type }) => type)).toEqual([
      'MapIterationStarted',
      'MapIterationStarted',
      'MapIterationStarted',
      'MapIterationFailed',
      'MapIterationAborted',
      'MapIterationAborted',
    ]);
    expect(iterations[3]!.mapIterationFailedEventDetails).toEqual({ name: 'Each', index: 1 });
  });

  it('gives an empty list for no items, and fails for what is no list', async () => {
    const states = (Items: Json): JsonObject => ({
      Each: { Type: 'Map', Items, ItemProcessor: { StartAt: 'One', States: { One: { Type: 'Succeed' } } }, End: true },
    });
    expect((await kit.run(states([]))).output).toEqual([]);
    expect(await kit.run(states('{% {"a": 1} %}'))).toMatchObject({ error: 'States.QueryEvaluationError' });
  });
});

describe('the 256 KiB quota', () => {
  const double = '{% $states.input & $states.input %}';

  it('ends with States.DataLimitExceeded when a state hands on more', async () => {
    const states = { Grow: { Type: 'Pass', Output: double, End: true } };
    expect(await kit.run(states, 'x'.repeat(131_000))).toMatchObject({ status: 'SUCCEEDED' });
    expect(await kit.run(states, 'x'.repeat(131_072))).toMatchObject({ error: 'States.DataLimitExceeded' });
    expect(await kit.run(states, 'ß'.repeat(65_536))).toMatchObject({ error: 'States.DataLimitExceeded' });
  });

  it('holds for variables too', async () => {
    const states = { Grow: { Type: 'Pass', Assign: { v: double }, End: true } };
    expect(await kit.run(states, 'x'.repeat(131_072))).toMatchObject({ error: 'States.DataLimitExceeded' });
  });

  it('can be caught by its name only', async () => {
    kit.lambda(() => 'x'.repeat(300_000));
    const caughtBy = (name: string) =>
      kit.run({
        Do: lambdaTask({ Catch: [{ ErrorEquals: [name], Next: 'Caught' }] }),
        Caught: { Type: 'Succeed' },
      });
    expect(await caughtBy('States.DataLimitExceeded')).toMatchObject({ status: 'SUCCEEDED' });
    expect(await caughtBy('States.ALL')).toMatchObject({ error: 'States.DataLimitExceeded' });
    expect(await caughtBy('States.TaskFailed')).toMatchObject({ error: 'States.DataLimitExceeded' });
  });
});
