import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../../embedded-aws/core/service.ts';
import { failure, Kit, lambdaTask, tokenTask } from './kit.ts';

const branch = (name: string, state: JsonObject) => ({ StartAt: name, States: { [name]: state } });

/** Waits, retries, timeouts, tokens, iterations and a caught failure, for about a minute. */
const busy: JsonObject = {
  All: {
    Type: 'Parallel',
    Branches: [
      branch('Ask', tokenTask({ HeartbeatSeconds: 7, TimeoutSeconds: 31, Retry: [{ ErrorEquals: ['States.ALL'] }] })),
      branch(
        'Try',
        lambdaTask({ TimeoutSeconds: 9, Retry: [{ ErrorEquals: ['States.ALL'], JitterStrategy: 'FULL' }] }),
      ),
      branch('Each', {
        Type: 'Map',
        Items: [1, 2, 3, 4, 5],
        MaxConcurrency: 2,
        ItemProcessor: branch('Nap', { Type: 'Wait', Seconds: '{% $states.input * 3 %}', End: true }),
        End: true,
      }),
    ],
    Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Rest' }],
    Next: 'Rest',
  },
  Rest: { Type: 'Wait', Seconds: 10, End: true },
};

describe('an execution', () => {
  it('leaves no timer, makes no call and adds no event after it was stopped, whenever that is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 90_000 }), async (stopAfterMs) => {
        const kit = new Kit();
        let calls = 0;
        kit.lambda(() => {
          calls += 1;
          if (calls % 3 === 0) throw failure('Third');
          return null;
        });
        const executionArn = await kit.start(await kit.machine(busy, { TimeoutSeconds: 80 }));
        await kit.clock.advance(stopAfterMs);
        await kit.call('StopExecution', { executionArn });
        const events = await kit.history(executionArn);
        const callsThen = kit.calls.length;
        expect(kit.clock.pending).toBe(0);
        await kit.clock.advance(200_000);
        expect(kit.calls).toHaveLength(callsThen);
        expect(await kit.history(executionArn)).toEqual(events);
        expect(events.at(-1)!.type).toMatch(/^Execution(Aborted|TimedOut|Succeeded|Failed)$/);
        expect(events.filter(({ type }) => type.startsWith('Execution'))).toHaveLength(2);
      }),
      { numRuns: 60 },
    );
  });

  it('goes the same way again under the same clock and random source', async () => {
    const run = async () => {
      const kit = new Kit();
      kit.lambda(() => null);
      const execution = await kit.start(await kit.machine(busy), {}, 'x');
      await kit.clock.runUntilIdle();
      return kit.history(execution);
    };
    expect(await run()).toEqual(await run());
  });
});

describe('the parser', () => {
  const kit = new Kit();
  const validate = async (definition: Json) =>
    (await kit.call('ValidateStateMachineDefinition', { definition: JSON.stringify(definition) })).result;

  it('answers OK or FAIL to any JSON whatever', async () => {
    const wild = fc.jsonValue() as fc.Arbitrary<Json>;
    const field = fc.oneof(
      wild,
      fc.constantFrom<Json>('A', '{% $ %}', '{% ( %}', true, 5, ['E'], [{ ErrorEquals: ['E'], Next: 'A' }], { A: {} }),
    );
    const type = fc.constantFrom('Task', 'Pass', 'Choice', 'Wait', 'Succeed', 'Fail', 'Parallel', 'Map', 'Other');
    const names = ['Next', 'End', 'Output', 'Assign', 'Retry', 'Catch', 'Choices', 'Default', 'Seconds', 'Branches'];
    const more = ['ItemProcessor', 'Items', 'Arguments', 'Resource', 'TimeoutSeconds', 'Error', 'QueryLanguage'];
    const state = fc
      .tuple(type, fc.dictionary(fc.constantFrom(...names, ...more), field, { maxKeys: 6 }))
      .map(([Type, fields]) => ({ Type, ...fields }));
    const machine = fc
      .dictionary(fc.constantFrom('A', 'B', 'C'), fc.oneof(state, wild))
      .map((States) => ({ QueryLanguage: 'JSONata', StartAt: 'A', States }) as Json);
    await fc.assert(
      fc.asyncProperty(fc.oneof(wild, machine), async (definition) => {
        expect(await validate(definition)).toMatch(/^(OK|FAIL)$/);
      }),
      { numRuns: 500 },
    );
  });
});
