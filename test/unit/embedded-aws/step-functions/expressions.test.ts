import { beforeEach, describe, expect, it } from 'vitest';
import type { Json } from '../../../../embedded-aws/core/service.ts';
import { Kit } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

const evaluate = (expression: string, input: Json = {}) =>
  kit.run({ A: { Type: 'Pass', Output: `{% ${expression} %}`, End: true } }, input);

describe("Step Functions' own functions", () => {
  it.each<[string, Json]>([
    ['$partition([1,2,3,4,5], 2)', [[1, 2], [3, 4], [5]]],
    ['$range(1, 9, 2)', [1, 3, 5, 7, 9]],
    ['$range(3, 1, -1)', [3, 2, 1]],
    ['$hash("abc", "MD5")', '900150983cd24fb0d6963f7d28e17f72'],
    ['$hash("abc", "SHA-1")', 'a9993e364706816aba3e25717850c26c9cd0d89d'],
    ['$substring($hash("abc", "SHA-256"), 0, 16)', 'ba7816bf8f01cfea'],
    ['$parse("{\\"a\\": [1, null]}")', { a: [1, null] }],
    ['$random(7) = $random(7) and $random(7) != $random(8)', true],
    ['$random() != $random()', true],
    ['$match($uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/).index', 0],
    ['$count($distinct($map([1,2,3], function($v){ $uuid() })))', 3],
    ['$sort($shuffle([3,1,2]))', [1, 2, 3]],
  ])('%s', async (expression, result) => {
    expect(await evaluate(expression)).toMatchObject({ status: 'SUCCEEDED', output: result });
  });

  it('take the time from the clock', async () => {
    await kit.clock.advance(1_500);
    expect((await evaluate('[$now(), $now("[Y]/[M01]"), $string($millis())]')).output).toEqual([
      '2026-01-01T00:00:01.500Z',
      '2026/01',
      String(Date.parse('2026-01-01T00:00:01.500Z')),
    ]);
  });

  it('draw the same numbers from the same source', async () => {
    const draw = '[$string($random()), $uuid(), $join($shuffle(["a","b","c","d"]))]';
    const first = (await evaluate(draw)).output;
    kit = new Kit();
    expect((await evaluate(draw)).output).toEqual(first);
  });

  it.each(['$partition([1], 0)', '$range(1, 2, 0)', '$range(1, 5000, 1)', '$hash("a", "CRC")', '$parse("{")'])(
    '%s fails',
    async (expression) => {
      expect(await evaluate(expression)).toMatchObject({ error: 'States.QueryEvaluationError' });
    },
  );
});

describe('evaluation', () => {
  it.each([
    ['$states.input.missing', "specified for the field 'Output' returned nothing (undefined)."],
    ['1 + "a"', 'threw an error during evaluation. T2002'],
    ['$unknown()', 'threw an error during evaluation. T1006'],
    ['function($x){ $x }', 'returned something that is not JSON'],
    ['{"f": $sum}', 'returned something that is not JSON'],
  ])('of %s fails the state', async (expression, cause) => {
    const outcome = await evaluate(expression);
    expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.QueryEvaluationError' });
    expect(outcome.cause).toContain(cause);
    expect(outcome.cause).toContain("executing the state 'A' (entered at the event id #2)");
  });

  it.each<[string, Json]>([
    ['$states.input.object', { list: [[1]], nothing: null }],
    ['$states.input.object.list', [[1]]],
    ['$states.input.object.nothing', null],
    ['$states.input.list.x', [1, 2]],
    ['$states.input.single.x', 1],
    ['$states.input.list', [{ x: 1 }, { x: 2 }, {}]],
  ])('follows a path: %s', async (expression, found) => {
    const input = { object: { list: [[1]], nothing: null }, list: [{ x: 1 }, { x: 2 }, {}], single: [{ x: 1 }] };
    expect(await evaluate(expression, input)).toMatchObject({ status: 'SUCCEEDED', output: found });
  });

  it.each(['$states.input.object.toString', '$states.input.text.length', '$states.input.nothing.x'])(
    'finds nothing at %s',
    async (expression) => {
      const outcome = await evaluate(expression, { object: {}, text: 'a', nothing: null });
      expect(outcome).toMatchObject({ status: 'FAILED', error: 'States.QueryEvaluationError' });
    },
  );

  it('is noted in the history, with the place', async () => {
    const outcome = await kit.run({ A: { Type: 'Pass', Output: { a: ['{% $states.input.x %}'] }, End: true } });
    expect((await kit.history(outcome.arn)).find(({ type }) => type === 'EvaluationFailed')).toMatchObject({
      evaluationFailedEventDetails: { error: 'States.QueryEvaluationError', location: 'Output/a/0', state: 'A' },
    });
  });

  it('leaves no mark of JSONata on what it returns: a list of one stays a list', async () => {
    const outcome = await kit.run(
      {
        A: { Type: 'Pass', Assign: { v: '{% $states.input.list[x = 1][] %}' }, Next: 'B' },
        B: {
          Type: 'Pass',
          Output: { whole: '{% $v %}', first: '{% $v[0].x %}', count: '{% $count($v) %}' },
          End: true,
        },
      },
      { list: [{ x: 1 }, { x: 2 }] },
    );
    expect(outcome.output).toEqual({ whole: [{ x: 1 }], first: 1, count: 1 });
  });

  it('lets a variable that is null be null', async () => {
    const outcome = await kit.run({
      A: { Type: 'Pass', Assign: { v: null }, Next: 'B' },
      B: { Type: 'Pass', Output: '{% $v %}', End: true },
    });
    expect(outcome.output).toBeNull();
  });

  it('keeps concurrent executions apart', async () => {
    const arn = await kit.machine({
      A: { Type: 'Pass', Assign: { v: '{% $states.input.n %}' }, Next: 'B' },
      B: { Type: 'Pass', Output: '{% $v * 2 %}', End: true },
    });
    const executions = await Promise.all(Array.from({ length: 50 }, (_, n) => kit.start(arn, { n })));
    await kit.clock.runUntilIdle();
    const outcomes = await Promise.all(executions.map((execution) => kit.outcome(execution)));
    expect(outcomes.map(({ output }) => output)).toEqual(Array.from({ length: 50 }, (_, n) => 2 * n));
  });

  it('takes a string that does not begin and end exactly with the marks as text', async () => {
    const Output = [' {% 1 %}', '{% 1 %} ', '{%', '{%%'];
    expect((await kit.run({ A: { Type: 'Pass', Output, End: true } })).output).toEqual(Output);
  });
});
