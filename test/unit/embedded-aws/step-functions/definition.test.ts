import { beforeEach, describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../../embedded-aws/core/service.ts';
import { Kit, lambdaTask, ROLE } from './kit.ts';

let kit: Kit;
beforeEach(() => {
  kit = new Kit();
});

const machine = (states: JsonObject, rest: JsonObject = {}): JsonObject => ({
  QueryLanguage: 'JSONata',
  StartAt: Object.keys(states)[0] ?? 'A',
  States: states,
  ...rest,
});
const pass = (fields: JsonObject): JsonObject => machine({ A: { Type: 'Pass', End: true, ...fields } });
const task = (fields: JsonObject): JsonObject => machine({ A: lambdaTask(fields) });
const end = { Type: 'Succeed' };

async function problems(definition: Json): Promise<string[]> {
  const answer = await kit.call('ValidateStateMachineDefinition', { definition: JSON.stringify(definition) });
  const diagnostics = answer.diagnostics as { location: string; message: string; severity: string }[];
  expect(answer.result).toBe(diagnostics.length === 0 ? 'OK' : 'FAIL');
  return diagnostics.map(({ location, message }) => `${location}: ${message}`);
}

describe('a definition', () => {
  it.each<[string, Json, string]>([
    ['that is no object', [], ': the definition must be a JSON object'],
    ['in JSONPath', { StartAt: 'A', States: {} }, '/QueryLanguage: the query language "JSONPath" is not supported'],
    [
      'with a JSONPath state',
      pass({ QueryLanguage: 'JSONPath' }),
      '/States/A/QueryLanguage: the query language "JSONPath" is not supported',
    ],
    ['with a JSONPath field', pass({ InputPath: '$.a' }), '/States/A/InputPath: "InputPath" belongs to JSONPath'],
    ['with a misspelt field', pass({ Outptu: 1 }), '/States/A/Outptu: the field "Outptu" is not supported'],
    ['with a misspelt field on top', machine({ A: end }, { Timeout: 3 }), '/Timeout: the field "Timeout"'],
    ['of an unknown type', machine({ A: { Type: 'Job' } }), '/States/A/Type: "Job" is not a state type'],
    ['without a type', machine({ A: {} }), '/States/A/Type: "Type" is missing'],
    ['without StartAt', { QueryLanguage: 'JSONata', States: { A: end } }, '/StartAt: "StartAt" is missing'],
    ['that starts nowhere', machine({ A: end }, { StartAt: 'B' }), '/StartAt: there is no state "B"'],
    ['that leads nowhere', machine({ A: { Type: 'Pass', Next: 'B' } }), '/States/A/Next: there is no state "B"'],
    [
      'whose Catch leads nowhere',
      task({ Catch: [{ ErrorEquals: ['E'], Next: 'B' }] }),
      '/States/A/Catch/0/Next: there is no state "B"',
    ],
    ['with a state out of reach', machine({ A: end, B: end }), '/States/B: the state "B" cannot be reached'],
    ['with neither Next nor End', machine({ A: { Type: 'Pass' } }), '/States/A: the state must have either'],
    ['with both Next and End', machine({ A: { Type: 'Pass', Next: 'A', End: true } }), '/States/A: the state must'],
    [
      'with a name used twice',
      machine({
        A: { Type: 'Parallel', Branches: [{ StartAt: 'A', States: { A: end } }], End: true },
      }),
      '/States/A/Branches/0/States/A: the state name "A" is used twice',
    ],
    ['with a name too long', machine({ ['n'.repeat(81)]: end }), 'at most 80 characters'],
    ['with a wrong timeout', machine({ A: end }, { TimeoutSeconds: '5' }), '/TimeoutSeconds: "TimeoutSeconds" must be'],
    [
      'with an unknown resource',
      task({ Resource: 'arn:aws:states:::sqs:sendMessage' }),
      '/States/A/Resource: the resource "arn:aws:states:::sqs:sendMessage" is not supported; supported are',
    ],
    [
      'with a function as resource',
      task({ Resource: 'arn:aws:lambda:eu-central-1:123456789012:function:f' }),
      '/States/A/Resource: the resource',
    ],
    [
      'with a service that is not here',
      task({ Resource: 'arn:aws:states:::aws-sdk:s3:getObject' }),
      '/States/A/Resource: the resource',
    ],
    [
      'with a token where there is none',
      task({ Resource: 'arn:aws:states:::dynamodb:getItem.waitForTaskToken' }),
      '/States/A/Resource: the resource',
    ],
    ['with Credentials', task({ Credentials: {} }), '/States/A/Credentials: "Credentials" is not supported'],
    [
      'with a Distributed Map',
      machine({
        A: {
          Type: 'Map',
          ItemProcessor: { ProcessorConfig: { Mode: 'DISTRIBUTED' }, StartAt: 'B', States: { B: end } },
          End: true,
        },
      }),
      '/States/A/ItemProcessor/ProcessorConfig/Mode: a Map of mode DISTRIBUTED is not supported',
    ],
    ['with an empty Choice', machine({ A: { Type: 'Choice', Choices: [] } }), '/States/A/Choices: "Choices" must'],
    [
      'with a Wait for two things',
      machine({ A: { Type: 'Wait', Seconds: 1, Timestamp: '2026-01-01T00:00:00Z', End: true } }),
      '/States/A: a Wait state has exactly one of',
    ],
    [
      'with States.ALL in company',
      task({ Retry: [{ ErrorEquals: ['States.ALL', 'E'] }] }),
      '/States/A/Retry/0/ErrorEquals: States.ALL must stand alone',
    ],
    [
      'with States.ALL before the last',
      task({ Retry: [{ ErrorEquals: ['States.ALL'] }, { ErrorEquals: ['E'] }] }),
      '/States/A/Retry/0/ErrorEquals: States.ALL must stand alone, and last',
    ],
    [
      'with a wrong jitter',
      task({ Retry: [{ ErrorEquals: ['E'], JitterStrategy: 'SOME' }] }),
      '/States/A/Retry/0/JitterStrategy',
    ],
    ['with a wrong rate', task({ Retry: [{ ErrorEquals: ['E'], BackoffRate: 0.5 }] }), '/States/A/Retry/0/BackoffRate'],
    ['that assigns states', pass({ Assign: { states: 1 } }), '/States/A/Assign/states: "states" cannot be assigned'],
    ['that assigns in part', pass({ Assign: { 'a.b': 1 } }), '/States/A/Assign/a.b: "a.b" cannot be assigned'],
    [
      'that reuses an outer variable',
      machine({
        A: {
          Type: 'Parallel',
          Assign: { v: 1 },
          Branches: [{ StartAt: 'B', States: { B: { Type: 'Pass', Assign: { v: 2 }, End: true } } }],
          End: true,
        },
      }),
      '/States/A/Branches/0/States/B: the variable "v" is assigned in an outer scope already',
    ],
  ])('%s is refused', async (_, definition, problem) => {
    expect((await problems(definition)).join('\n')).toContain(problem);
  });

  it.each<[string, string]>([
    ['$x +', 'not a JSONata expression: S0207'],
    ['$x ?? 1', 'not a JSONata expression'],
    ['foo.bar', 'the field name "foo" is not allowed at the top level'],
    ['$', '$ is not allowed at the top level'],
    ['$states.input.list[$$.x = 1]', '$$ has no meaning'],
    ['*', '* is not allowed at the top level'],
    ['$eval("1")', '$eval is not supported'],
    ['$x.($eval("1"))', '$eval is not supported'],
    ['$map($x, function($v){ name })', 'the field name "name"'],
    ['{"a": b}', 'the field name "b"'],
    ['$states.inptu', '$states.inptu does not exist'],
    ['$states.result', '$states.result does not exist here'],
    ['$states.errorOutput.Error', '$states.errorOutput does not exist here'],
  ])('with the expression %s is refused', async (expression, problem) => {
    const found = await problems(pass({ Output: { deep: [`{% ${expression} %}`] } }));
    expect(found.join('\n')).toContain(`/States/A/Output/deep/0: ${problem}`);
  });

  it.each([
    '$states.input.list[id = 1 and $ != 2].name',
    '$states.input.list.{"k": name, "v": $}',
    '$states.input.list^(>age, name)',
    '$states.input.list{name: $sum(age)}',
    '$map($states.input.list, function($v, $i){ $v.name & $i })',
    '($x := $states.input.a; $x.b)',
    '$states.input ~> |list|{"c": a}|',
    '$states.input.*.name',
  ])('with the expression %s is taken', async (expression) => {
    expect(await problems(pass({ Output: `{% ${expression} %}` }))).toEqual([]);
  });

  it('may read the result in a Task and the error in a Catch, not the other way round', async () => {
    const reads = (field: string) => `{% $states.${field} %}`;
    const definition = (result: string, error: string) =>
      machine({
        A: lambdaTask({ Output: reads(result), Catch: [{ ErrorEquals: ['E'], Output: reads(error), Next: 'B' }] }),
        B: end,
      });
    expect(await problems(definition('result', 'errorOutput'))).toEqual([]);
    expect(await problems(definition('errorOutput', 'result'))).toHaveLength(2);
  });

  it('reports everything that is wrong at once', async () => {
    const found = await problems(machine({ A: { Type: 'Pass', Next: 'B', Output: '{% $ %}' }, C: { Type: 'Wait' } }));
    expect(found).toHaveLength(5);
  });

  it('that is wrong creates nothing; the error names state and field', async () => {
    const definition = JSON.stringify(machine({ A: { Type: 'Pass', Next: 'B' } }));
    const create = kit.call('CreateStateMachine', { name: 'm', definition, roleArn: ROLE });
    await expect(create).rejects.toMatchObject({
      code: 'InvalidDefinition',
      message: `Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: there is no state "B" at /States/A/Next'`,
    });
    expect((await kit.call('ListStateMachines', {})).stateMachines).toEqual([]);
  });
});
