import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { synthesize } from '../../cdk/synthesize.ts';
import { FUNCTIONS, functionName, pointOf } from '../../simulator/harness/aws-faults.ts';
import { runWorld } from '../../simulator/harness/world.ts';

let assembly = '';
beforeAll(async () => {
  assembly = await synthesize({ sharedPackages: true });
}, 120_000);

it('names functions that the stack has', () => {
  const { Resources } = JSON.parse(readFileSync(join(assembly, 'Handoff.template.json'), 'utf8')) as {
    Resources: Record<string, { Type: string; Properties: { FunctionName?: string } }>;
  };
  const names = Object.values(Resources)
    .filter(({ Type }) => Type === 'AWS::Lambda::Function')
    .map(({ Properties }) => functionName(Properties.FunctionName ?? ''));
  expect(names).toEqual(expect.arrayContaining([...FUNCTIONS]));
});

it('reaches the points of AWS calls that every migration makes', async () => {
  const reached = new Set<string | undefined>();
  await runWorld({
    assembly,
    seed: 1,
    migrations: 4,
    hosts: 3,
    catalog: [],
    mutation: {
      call(call) {
        reached.add(pointOf(call));
        return undefined;
      },
    },
  });
  const points = [
    'acquire-cutover-slot',
    'admit',
    'commit',
    'dispatch',
    'host',
    'machine',
    'relay',
    'settle',
    'unlock',
  ];
  expect([...reached]).toEqual(expect.arrayContaining(points));
});
