import { globSync, readdirSync, readFileSync } from 'node:fs';
import { App, Stack } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { expect, it } from 'vitest';
import { EXIT } from '../../../agent/environment.ts';
import { Alarms } from '../../../cdk/constructs/alarms.ts';
import { ROUTES } from '../../../cdk/constructs/control-api.ts';
import { generatedPages } from '../../../docs/reference-pages.ts';

const read = (path: string): string => readFileSync(`docs/${path}`, 'utf8');

it.each(generatedPages())('docs/$path is what `npm run docs` writes', ({ path, text }) => {
  expect(read(path)).toBe(text);
});

it('the API page has every route, and no other', () => {
  const documented = [...read('reference/api.md').matchAll(/^\| `([A-Z]+) (\/[^`?]*)/gm)];
  expect(documented.map(([, method, path]) => `${method} ${path}`).toSorted()).toEqual(
    ROUTES.map(([method, path]) => `${method} ${path}`).toSorted(),
  );
});

it('the metrics page has every metric of the functions, and no other', () => {
  const sources = globSync('lambdas/**/*.ts').map((path) => readFileSync(path, 'utf8'));
  const counted = sources.flatMap((source) => [...source.matchAll(/\b(?:count|observe)\(\s*'(\w+)'/g)]);
  const documented = [...read('reference/metrics.md').matchAll(/^\| `(\w+)`/gm)];
  expect(new Set(documented.map(([, name]) => name))).toEqual(new Set(counted.map(([, name]) => name)));
});

it('each alarm has a runbook', () => {
  const stack = new Stack(new App(), 'Stack');
  const alarms = new Alarms(stack, 'Alarms', { service: 'handoff', deadLetters: [new Queue(stack, 'Queue')] });
  const names = alarms.node.children.flatMap((child) => (child instanceof Alarm ? [child.node.id] : []));
  expect(names.length).toBeGreaterThan(0);
  expect(readdirSync('docs/runbooks')).toEqual(
    expect.arrayContaining(
      names.map((name) => `alarm-${name.replace(/(?!^)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}.md`),
    ),
  );
});

it("the agent's page has each of its exit codes", () => {
  const documented = [...read('reference/agent.md').matchAll(/^\| (\d+) \|/gm)];
  expect(documented.map(([, code]) => Number(code))).toEqual(Object.values(EXIT));
});
