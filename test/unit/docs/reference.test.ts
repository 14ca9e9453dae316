import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { App, Stack } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { expect, it } from 'vitest';
import { EXIT } from '../../../agent/environment.ts';
import { Alarms } from '../../../cdk/constructs/alarms.ts';
import { ROUTES } from '../../../cdk/constructs/control-api.ts';
import { type MigrateParts, migrateDefinition } from '../../../cdk/state-machines/migrate.ts';
import { CLEANUP_SECTIONS } from '../../../common/ownership/cleanup-rules.ts';
import { RECOVERY_SECTIONS } from '../../../common/ownership/recovery-rules.ts';
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

const asOneLine = (text: string): string => text.replace(/\s+(> )?/g, ' ');

it('each reason for which an operator is asked is in a runbook, word for word', () => {
  const runbooks = readdirSync('docs/runbooks').map((name) => asOneLine(read(`runbooks/${name}`)));
  const reasons = RECOVERY_SECTIONS.flatMap(({ rules }) => rules).flatMap(({ decision, why }) =>
    decision.kind === 'operator' ? [why] : [],
  );
  // The page of refused decisions has their common beginning once, and a row for each end.
  const missing = reasons
    .flatMap((why) => why.split(/(?<=is refused, because) /))
    .filter((part) => !runbooks.some((text) => text.includes(part)));
  expect(reasons.length).toBeGreaterThan(0);
  expect(missing).toEqual([]);
});

it('each reason for which a cleanup needs a person is in its runbook, word for word', () => {
  const runbook = asOneLine(read('runbooks/cleanup-needs-person.md'));
  const rules = CLEANUP_SECTIONS.flatMap((section) => [...section.rules, section.otherwise]);
  const reasons = rules.flatMap(({ decision, why }) => (decision === 'operator' ? [why] : []));
  expect(reasons.length).toBeGreaterThan(0);
  expect(reasons.filter((why) => !runbook.includes(why))).toEqual([]);
});

/** The first table after a heading, as cells without the head. */
function tableAfter(text: string, heading: string): string[][] {
  const [, table = ''] = /((?:^\|.*\n)+)/m.exec(text.slice(text.indexOf(heading))) ?? [];
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

it('the concepts name the states of the machine as the console shows them, in their order', () => {
  const states = Object.keys(migrateDefinition({} as MigrateParts).States);
  const named = tableAfter(read('concepts.md'), '## Migration and stages').map(([state]) => state!);
  expect(named.length).toBeGreaterThan(5);
  expect(states.filter((state) => named.includes(state))).toEqual(named);
});

it('the glossary names code that is there', () => {
  const folders = ['agent', 'cdk', 'cli', 'common', 'contract', 'embedded-aws', 'lambdas'];
  const code = folders
    .flatMap((folder) => globSync(`${folder}/**/*.ts`))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  const names = tableAfter(read('glossary.md'), '# Glossary').flatMap(([, , cell]) =>
    [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!),
  );
  const known = (name: string): boolean => {
    if (name.includes('/')) return existsSync(name) || code.includes(name);
    // A field is named with its schema, such as Policy.deadlineSeconds.
    return name.split('.').every((part) => part === 'ts' || code.includes(part.replace(/\.\.\.$/, '')));
  };
  expect(names.filter((name) => !known(name))).toEqual([]);
});

it('the events page has every event that the functions put into the timeline', () => {
  const sources = globSync('lambdas/**/*.ts').map((path) => readFileSync(path, 'utf8'));
  const events = sources.flatMap((source) =>
    [...source.matchAll(/\b(?:addEvent|eventItem)\(\s*[\w.]+,\s*'([^']+)'/g)].map(([, event]) => event!),
  );
  const page = read('reference/events.md');
  expect(events.length).toBeGreaterThan(5);
  expect(events.filter((event) => !page.includes(`\`${event}\``))).toEqual([]);
});

it("the page on configuration has every environment variable of the agent's --help", () => {
  const variables = readFileSync('agent/main.ts', 'utf8').match(/^ {2}(HANDOFF_\w+)/gm) ?? [];
  const page = read('operate/configure.md');
  expect(variables.length).toBeGreaterThan(5);
  expect(variables.filter((name) => !page.includes(`\`${name.trim()}\``))).toEqual([]);
});
