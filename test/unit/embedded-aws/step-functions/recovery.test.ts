import { beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../embedded-aws/core/service.ts';
import { failure, Kit, lambdaTask, tokenTask } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

/** Lets the function fail with these errors, one after the other, then succeed; notes when it is called. */
function failing(...errors: string[]): number[] {
  const at: number[] = [];
  kit.lambda(() => {
    at.push(kit.elapsed());
    const error = errors.shift();
    if (error !== undefined) throw failure(error, 'why');
    return 'done';
  });
  return at;
}

const retry = (...Retry: JsonObject[]): JsonObject => ({
  Do: lambdaTask({ Retry, Output: '{% $states.context.State.RetryCount %}' }),
});

describe('Retry', () => {
  it.each<[string, JsonObject, number[]]>([
    ['1 s doubling by default', {}, [0, 1, 3, 7]],
    ['by its own interval and rate', { IntervalSeconds: 2, BackoffRate: 3 }, [0, 2, 8, 26]],
    ['with a limit to the delay', { IntervalSeconds: 4, MaxDelaySeconds: 5 }, [0, 4, 9, 14]],
  ])('waits %s', async (_, fields, times) => {
    const at = failing('E', 'E', 'E');
    const outcome = await kit.run(retry({ ErrorEquals: ['E'], ...fields }));
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: 3 });
    expect(at).toEqual(times);
  });

  it('draws the delay from 0 to its full length with FULL jitter', async () => {
    const at = failing('E', 'E', 'E');
    await kit.run(retry({ ErrorEquals: ['E'], IntervalSeconds: 10, JitterStrategy: 'FULL' }));
    const delays = [at[1]! - at[0]!, at[2]! - at[1]!, at[3]! - at[2]!];
    for (const [index, delay] of delays.entries()) {
      expect(delay).toBeGreaterThan(0);
      expect(delay).toBeLessThan(10 * 2 ** index);
    }
  });

  it.each([
    ['three retries by default', {}, 4],
    ['as many as MaxAttempts', { MaxAttempts: 1 }, 2],
    ['none for MaxAttempts 0', { MaxAttempts: 0 }, 1],
  ])('gives up after %s', async (_, fields, calls) => {
    const at = failing('E', 'E', 'E', 'E', 'E');
    const outcome = await kit.run(retry({ ErrorEquals: ['E'], ...fields }));
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'E' });
    expect(outcome.cause).toBe('{"errorType":"E","errorMessage":"why"}');
    expect(at).toHaveLength(calls);
  });

  it('counts attempts for each retrier apart', async () => {
    const at = failing('A', 'B', 'A', 'B', 'B');
    const outcome = await kit.run(
      retry({ ErrorEquals: ['A'], MaxAttempts: 2 }, { ErrorEquals: ['B'], MaxAttempts: 2, IntervalSeconds: 100 }),
    );
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'B' });
    expect(at).toHaveLength(5);
  });

  it('evaluates the arguments again and hands out a new token for each attempt', async () => {
    const tokens: string[] = [];
    kit.lambda((payload) => {
      tokens.push((payload as { token: string }).token);
      throw failure('E');
    });
    await kit.run({ Ask: tokenTask({ Retry: [{ ErrorEquals: ['E'], MaxAttempts: 2 }] }) });
    expect(new Set(tokens).size).toBe(3);
  });

  it('also runs a Parallel again', async () => {
    failing('E');
    const outcome = await kit.run({
      Both: {
        Type: 'Parallel',
        Branches: [{ StartAt: 'Do', States: { Do: lambdaTask({ Output: '{% $states.result.Payload %}' }) } }],
        Retry: [{ ErrorEquals: ['States.ALL'] }],
        End: true,
      },
    });
    expect(outcome).toMatchObject({ status: 'SUCCEEDED', output: ['done'] });
  });
});

describe('Catch', () => {
  const caught = (ErrorEquals: string[], rest: JsonObject = {}, task: JsonObject = {}): JsonObject => ({
    Do: lambdaTask({ Catch: [{ ErrorEquals, Next: 'Caught', ...rest }], ...task }),
    Caught: { Type: 'Pass', Output: '{% {"in": $states.input, "v": $exists($v) ? $v : null} %}', End: true },
  });

  it('hands on the error output, or its own Output; assigns variables', async () => {
    failing('E', 'E');
    const Cause = '{"errorType":"E","errorMessage":"why"}';
    expect((await kit.run(caught(['E']))).output).toEqual({ in: { Error: 'E', Cause }, v: null });
    const rest = {
      Output: '{% $states.input.a & $states.errorOutput.Error %}',
      Assign: { v: '{% $parse($states.errorOutput.Cause).errorMessage %}' },
    };
    expect((await kit.run(caught(['E'], rest), { a: 'a' })).output).toEqual({ in: 'aE', v: 'why' });
  });

  it('comes after the retries, and the first that matches wins', async () => {
    failing('E', 'E');
    const states = {
      Do: lambdaTask({
        Retry: [{ ErrorEquals: ['E'], MaxAttempts: 1 }],
        Catch: [
          { ErrorEquals: ['Other'], Next: 'Wrong' },
          { ErrorEquals: ['States.TaskFailed'], Next: 'Right' },
          { ErrorEquals: ['States.ALL'], Next: 'Wrong' },
        ],
      }),
      Right: { Type: 'Succeed', Output: 'right' },
      Wrong: { Type: 'Succeed', Output: 'wrong' },
    };
    expect((await kit.run(states)).output).toBe('right');
    expect(kit.elapsed()).toBe(1);
  });

  it.each([
    ['States.TaskFailed', false],
    ['States.Timeout', true],
    ['States.ALL', true],
    ['States.HeartbeatTimeout', false],
  ])('of %s on a timeout: %s', async (name, handles) => {
    kit.lambda(() => kit.clock.sleep(60_000).then(() => null));
    const outcome = await kit.run(caught([name], {}, { TimeoutSeconds: 10 }));
    expect(outcome.status).toBe(handles ? 'SUCCEEDED' : 'FAILED');
    if (!handles) expect(outcome.error).toBe('States.Timeout');
  });

  it.each(['States.ALL', 'States.Runtime', 'States.TaskFailed'])('never handles States.Runtime (%s)', async (name) => {
    // Arguments that are no object cannot start a task.
    const outcome = await kit.run(caught([name], {}, { Arguments: '{% "text" %}' }));
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.Runtime' });
  });

  it.each([
    ['Arguments', { Arguments: { FunctionName: 'f', Payload: '{% $states.input.missing %}' } }],
    ['Output', { Output: '{% $states.result.missing %}' }],
    ['Assign', { Assign: { v: '{% 1 + "a" %}' } }],
  ])('handles an expression that fails in %s', async (_, task) => {
    failing();
    expect((await kit.run(caught(['States.QueryEvaluationError'], {}, task))).status).toBe('SUCCEEDED');
  });

  it('does not handle a failure of its own Output', async () => {
    failing('E');
    const states = caught(['States.ALL'], { Output: '{% $states.errorOutput.nothing %}' });
    expect(await kit.run(states)).toMatchObject({ status: 'FAILED', error: 'States.QueryEvaluationError' });
  });

  it('assigns to the outer scope when it stands on a Parallel', async () => {
    const states = {
      Both: {
        Type: 'Parallel',
        Branches: [{ StartAt: 'No', States: { No: { Type: 'Fail', Error: 'E' } } }],
        Catch: [{ ErrorEquals: ['E'], Assign: { v: '{% $states.errorOutput.Error %}' }, Next: 'After' }],
        End: true,
      },
      After: { Type: 'Pass', Output: '{% $v %}', End: true },
    };
    expect((await kit.run(states)).output).toBe('E');
  });
});

describe('timeouts', () => {
  it('end a task after TimeoutSeconds, from an expression too, and leave no timer', async () => {
    kit.lambda(() => new Promise<null>(() => undefined));
    const outcome = await kit.run({ Do: lambdaTask({ TimeoutSeconds: '{% $states.input.t %}' }) }, { t: 30 });
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.Timeout' });
    expect([kit.elapsed(), kit.clock.pending]).toEqual([30, 0]);
    expect(await kit.types(outcome.arn)).toContain('TaskTimedOut');
  });

  it('leave no timer behind when the task is faster', async () => {
    kit.lambda(() => 1);
    await kit.run({ Do: lambdaTask({ TimeoutSeconds: 30 }) });
    expect([kit.elapsed(), kit.clock.pending]).toEqual([0, 0]);
  });

  it.each([
    ['not positive', { TimeoutSeconds: '{% 0 %}' }, "'TimeoutSeconds' must be a whole number"],
    ['not a number', { HeartbeatSeconds: '{% "x" %}' }, "'HeartbeatSeconds' must be a whole number"],
    [
      'with a heartbeat that is not shorter',
      { TimeoutSeconds: 5, HeartbeatSeconds: 5 },
      'HeartbeatSeconds must be smaller',
    ],
  ])('are refused when %s', async (_, fields, cause) => {
    const outcome = await kit.run({ Do: tokenTask(fields) });
    expect(outcome.error).toBe('States.QueryEvaluationError');
    expect(outcome.cause).toContain(cause);
  });

  it('end the whole execution as TIMED_OUT, whatever is caught', async () => {
    const states = {
      Both: {
        Type: 'Parallel',
        Branches: [{ StartAt: 'Rest', States: { Rest: { Type: 'Wait', Seconds: 100, End: true } } }],
        Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }],
        End: true,
      },
      Caught: { Type: 'Succeed' },
    };
    const outcome = await kit.run(states, {}, { TimeoutSeconds: 20 });
    expect(outcome).toMatchObject({ status: 'TIMED_OUT', error: 'States.Timeout' });
    expect([kit.elapsed(), kit.clock.pending]).toEqual([20, 0]);
    expect((await kit.types(outcome.arn)).slice(-3)).toEqual([
      'WaitStateAborted',
      'ParallelStateAborted',
      'ExecutionTimedOut',
    ]);
  });

  it('of the machine leave no timer when it ends in time', async () => {
    await kit.run({ A: { Type: 'Succeed' } }, {}, { TimeoutSeconds: 20 });
    expect([kit.elapsed(), kit.clock.pending]).toEqual([0, 0]);
  });
});
