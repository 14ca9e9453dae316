import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AwsError, JsonObject } from '../../../../embedded-aws/core/service.ts';
import type { Item } from '../../../../embedded-aws/dynamodb/values.ts';
import { fixture, key } from './fixture.ts';

/** One conditional write of a versioned item, as request and as what it means for a plain map. */
interface Step {
  action: 'Create' | 'Raise' | 'Remove' | 'Expect';
  id: string;
  version: number;
}

type Model = Map<string, number>;

const step: fc.Arbitrary<Step> = fc.record({
  action: fc.constantFrom('Create', 'Raise', 'Remove', 'Expect'),
  id: fc.constantFrom('a', 'b', 'c'),
  version: fc.integer({ min: 0, max: 2 }),
});
const transaction = fc.uniqueArray(step, { minLength: 1, maxLength: 3, selector: ({ id }) => id });

function holds({ action, id, version }: Step, model: Model): boolean {
  return action === 'Create' ? !model.has(id) : model.get(id) === version;
}

function apply({ action, id, version }: Step, model: Model): void {
  if (action === 'Create') model.set(id, 0);
  if (action === 'Raise') model.set(id, version + 1);
  if (action === 'Remove') model.delete(id);
}

const KINDS = { Create: 'Put', Raise: 'Update', Remove: 'Delete', Expect: 'ConditionCheck' };

function request({ action, id, version }: Step): JsonObject {
  const expected = {
    Key: key('p', id),
    ConditionExpression: 'version = :v',
    ExpressionAttributeValues: { ':v': { N: `${version}` } },
  };
  const member: Record<Step['action'], JsonObject> = {
    Create: { Item: { ...key('p', id), version: { N: '0' } }, ConditionExpression: 'attribute_not_exists(pk)' },
    Raise: {
      ...expected,
      UpdateExpression: 'SET version = version + :one',
      ExpressionAttributeValues: { ...expected.ExpressionAttributeValues, ':one': { N: '1' } },
    },
    Remove: expected,
    Expect: expected,
  };
  return { [KINDS[action]]: { TableName: 'things', ...member[action] } };
}

function versions(items: Item[]): Model {
  return new Map(items.map((item) => [item.sk!.S!, Number(item.version!.N)]));
}

describe('conditional writes', () => {
  it('act as a map would, alone or in transactions, and the stream carries every change', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(transaction, { maxLength: 25 }), async (transactions) => {
        const { call, things, db } = fixture();
        const model: Model = new Map();
        const replayed: Model = new Map();
        db.onStreamRecord('things', ({ eventName, dynamodb: { Keys, OldImage, NewImage } }) => {
          const id = Keys.sk!.S!;
          expect(OldImage && Number(OldImage.version!.N)).toBe(replayed.get(id));
          if (eventName === 'REMOVE') replayed.delete(id);
          else replayed.set(id, Number(NewImage!.version!.N));
        });
        for (const steps of transactions) {
          const reasons = await call('TransactWriteItems', { TransactItems: steps.map(request) }).then(
            () => steps.map(() => 'None'),
            (error: AwsError) => (error.extra.CancellationReasons as JsonObject[]).map((reason) => reason.Code),
          );
          expect(reasons).toEqual(steps.map((one) => (holds(one, model) ? 'None' : 'ConditionalCheckFailed')));
          if (reasons.every((reason) => reason === 'None')) for (const one of steps) apply(one, model);
        }
        expect(versions((await things('Scan', {})).Items as Item[])).toEqual(model);
        expect(replayed).toEqual(model);
      }),
      { numRuns: 60 },
    );
  });
});
