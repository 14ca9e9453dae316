import { describe, expect, it } from 'vitest';
import type { Json } from '../../../../embedded-aws/core/service.ts';
import { type TargetInput, targetInput } from '../../../../embedded-aws/events/input.ts';

const event = { source: 'x', detail: { name: 'say "hi"', n: 5, list: [{ id: 'a' }, { id: 'b' }], 'a-b': true } };
const context = { ruleArn: 'arn:rule', ruleName: 'rule', ingestionTime: '2026-01-01T00:00:00.000Z' };
const transformer = (InputTemplate: string, InputPathsMap: Record<string, string> = {}): TargetInput => ({
  InputTransformer: { InputPathsMap, InputTemplate },
});

describe('targetInput', () => {
  it.each<[what: string, target: TargetInput, expected: Json]>([
    ['the whole event', {}, event],
    ['a constant', { Input: '{"x":1}' }, { x: 1 }],
    ['a part', { InputPath: '$.detail.list[1].id' }, 'b'],
    ['the whole, by path', { InputPath: '$' }, event],
    ['a part that is not there', { InputPath: '$.detail.none.deeper' }, null],
    [
      'values as JSON',
      transformer('{"n":<n>,"l":<l>}', { n: '$.detail.n', l: '$.detail.list' }),
      { n: 5, l: [{ id: 'a' }, { id: 'b' }] },
    ],
    ['a string as JSON', transformer('{"name":<name>}', { name: '$.detail.name' }), { name: 'say "hi"' }],
    ['bare text within quotes', transformer('"n is <n>, <b>"', { n: '$.detail.n', b: '$.detail.a-b' }), 'n is 5, true'],
    ['a missing value', transformer('{"x":<x>,"y":"<x>!"}', { x: '$.none' }), { x: null, y: '!' }],
    [
      'reserved variables',
      transformer('{"r":<aws.events.rule-arn>,"e":<aws.events.event>}'),
      { r: 'arn:rule', e: event },
    ],
    ['what is no variable', transformer('"<unknown> \\"<n>\\""', { n: '$.detail.n' }), '<unknown> "5"'],
    ['what is no JSON, as text', transformer('n=<n>', { n: '$.detail.n' }), 'n=5'],
  ])('gives %s', (_, target, expected) => {
    expect(targetInput(target, event, context)).toEqual(expected);
  });

  it('does not escape text within quotes, as AWS does not', () => {
    const target = transformer('{"a":"<name>"}', { name: '$.detail.name' });
    expect(targetInput(target, event, context)).toBe('{"a":"say "hi""}');
  });

  it('fails by name on a path it does not know', () => {
    expect(() => targetInput({ InputPath: '$..id' }, event, context)).toThrow('"$..id"');
  });
});
