import { createRequire } from 'node:module';
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import jsonata from 'jsonata';
import { beforeAll, describe, expect, it } from 'vitest';
import { HandoffStack } from '../../../cdk/handoff-stack.ts';
import { type Definition, js } from '../../../cdk/state-machines/asl.ts';
import { evacuateDefinition } from '../../../cdk/state-machines/evacuate.ts';
import { migrateDefinition } from '../../../cdk/state-machines/migrate.ts';
import { recoverDefinition } from '../../../cdk/state-machines/recover.ts';

const validate = createRequire(import.meta.url)('asl-validator') as (definition: unknown) => {
  isValid: boolean;
  errorsText: (separator: string) => string;
};

const arn = (name: string) => `arn:aws:lambda:eu-central-1:123456789012:function:${name}`;
const recovery = {
  dispatch: arn('dispatch'),
  decideOwnership: arn('decide-ownership'),
  settle: arn('settle'),
  mailboxTable: 'mailbox',
};
const machines: Record<string, Definition> = {
  Migrate: migrateDefinition({
    ...recovery,
    admit: arn('admit'),
    reserveMemory: arn('reserve'),
    acquireCutoverSlot: arn('acquire-cutover-slot'),
  }),
  Recover: recoverDefinition({ ...recovery, resumeStoppedExecution: arn('resume-stopped-execution') }),
  Evacuate: evacuateDefinition({
    beginEvacuation: arn('begin'),
    planEvacuation: arn('plan'),
    dispatch: arn('dispatch'),
    migrateMachine: 'arn:aws:states:eu-central-1:123456789012:stateMachine:handoff-migrate',
    controlTable: 'control',
  }),
};

describe.each(Object.entries(machines))('%s', (_, definition) => {
  it('is valid Amazon States Language', () => {
    const outcome = validate(definition);
    expect(outcome.isValid, outcome.errorsText('\n')).toBe(true);
  });

  it('uses only JSONata that Step Functions takes', () => {
    const bad: string[] = [];
    for (const text of strings(definition).filter((value) => value.startsWith('{%'))) {
      const ast = jsonata(text.slice(2, -2)).ast();
      walk(ast as unknown as Node, (node) => {
        if (node.type === 'variable' && node.value === '$') bad.push(`${text}: $$ is not there`);
        if (node.type === 'variable' && node.value === 'eval') bad.push(`${text}: $eval is not there`);
      });
    }
    expect(bad).toEqual([]);
  });
});

it('writes expressions as Step Functions reads them', () => {
  expect(js('$x')).toMatch(/^\{% .* %\}$/);
});

describe('the stack', () => {
  let template: Template;
  beforeAll(() => {
    // Bundling is left out: what the functions are made of is tested where they run.
    const app = new App({ context: { 'aws:cdk:bundling-stacks': [] } });
    template = Template.fromStack(new HandoffStack(app, 'Handoff'));
  }, 60_000);

  it('lets a host touch its own mailbox and nothing else', () => {
    const policies = template.findResources('AWS::IAM::Policy');
    const statement = Object.values(policies)
      .flatMap((policy) => policy.Properties.PolicyDocument.Statement as Record<string, unknown>[])
      .find((one) => one.Sid === 'OwnMailboxOnly');
    expect(statement).toMatchObject({
      Effect: 'Allow',
      Action: ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'],
      Condition: {
        'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': [`$${'{aws:userid}'}`] },
        Null: { 'dynamodb:LeadingKeys': 'false' },
      },
    });
  });

  it('never grants Run Command for any document but its own', () => {
    const statements = Object.values(template.findResources('AWS::IAM::Policy')).flatMap(
      (policy) => policy.Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[],
    );
    const send = statements.filter(({ Action }) => [Action].flat().includes('ssm:SendCommand'));
    expect(send).toHaveLength(1);
    expect(JSON.stringify(send[0]?.Resource)).not.toContain('document/*');
  });

  it('asks IAM on every route', () => {
    const routes = Object.values(template.findResources('AWS::ApiGatewayV2::Route'));
    expect(routes.length).toBeGreaterThan(8);
    for (const route of routes) expect(route.Properties.AuthorizationType).toBe('AWS_IAM');
  });

  it('watches every dead-letter queue, and tells a topic of each alarm', () => {
    const alarms = Object.values(template.findResources('AWS::CloudWatch::Alarm'));
    expect(alarms.map((alarm) => alarm.Properties.AlarmDescription.split(':')[0])).toHaveLength(7);
    for (const alarm of alarms) expect(alarm.Properties.AlarmActions).toHaveLength(1);
    const watched = new Set(JSON.stringify(alarms).match(/Dead[A-Za-z]+[0-9A-F]{8}(?=","QueueName")/g));
    expect([...watched].toSorted()).toEqual(Object.keys(template.findResources('AWS::SQS::Queue')).toSorted());
  });

  it('lets settle put events of its own on the bus, and nothing else', () => {
    const statements = Object.values(template.findResources('AWS::IAM::Policy')).flatMap(
      (policy) => policy.Properties.PolicyDocument.Statement as Record<string, unknown>[],
    );
    const put = statements.filter(({ Action }) => [Action].flat().includes('events:PutEvents'));
    expect(put).toMatchObject([{ Condition: { StringEquals: { 'events:source': 'handoff' } } }]);
  });

  it('keeps the tables when the stack goes', () => {
    const tables = Object.values(template.findResources('AWS::DynamoDB::GlobalTable'));
    expect(tables.map((table) => table.DeletionPolicy)).toEqual(['Retain', 'Retain']);
  });

  it('passes the request id to the shell as an environment variable only', () => {
    const [document] = Object.values(template.findResources('AWS::SSM::Document'));
    const content = document?.Properties.Content;
    expect(Object.keys(content.parameters)).toEqual(['requestId']);
    expect(content.parameters.requestId.interpolationType).toBe('ENV_VAR');
    expect(JSON.stringify(content.mainSteps)).not.toContain('{{');
  });

  it('gives every function an end to its logs, and every event source a place for what it cannot deliver', () => {
    for (const group of Object.values(template.findResources('AWS::Logs::LogGroup'))) {
      expect(group.Properties.RetentionInDays).toBeGreaterThan(0);
    }
    for (const mapping of Object.values(template.findResources('AWS::Lambda::EventSourceMapping'))) {
      expect(mapping.Properties.DestinationConfig.OnFailure.Destination).toBeDefined();
      expect(mapping.Properties.MaximumRetryAttempts).toBeGreaterThan(0);
    }
    for (const rule of Object.values(template.findResources('AWS::Events::Rule'))) {
      for (const target of rule.Properties.Targets) expect(target.DeadLetterConfig).toBeDefined();
    }
  });
});

interface Node {
  type?: string;
  value?: unknown;
  [key: string]: unknown;
}

function walk(node: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(node)) for (const one of node) walk(one, visit);
  else if (typeof node === 'object' && node !== null) {
    visit(node as Node);
    for (const value of Object.values(node)) walk(value, visit);
  }
}

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(strings);
  return [];
}
