import type { Json, JsonObject } from '../core/service.ts';
import type { Rule } from '../events/event-bridge.ts';
import type { Target } from '../events/targets.ts';
import { knownProperties, type Resource } from '../template/template.ts';

const TARGET = ['Arn', 'DeadLetterConfig', 'Id', 'Input', 'InputPath', 'InputTransformer', 'RetryPolicy', 'RoleArn'];

const targetOf = (resource: Resource, target: Json): Target =>
  knownProperties(
    { ...resource, type: `a target of ${resource.type}`, properties: target as JsonObject },
    TARGET,
  ) as unknown as Target;

/** The rule; undefined when it is disabled. */
export function ruleOf(resource: Resource): Rule | undefined {
  const properties = knownProperties(resource, [
    'Description',
    'EventPattern',
    'Name',
    'ScheduleExpression',
    'State',
    'Tags',
    'Targets',
  ]);
  if (properties.State === 'DISABLED') return undefined;
  const { EventPattern: pattern, ScheduleExpression: schedule } = properties;
  return {
    name: resource.ref,
    arn: resource.attributes.Arn as string,
    ...(pattern === undefined ? {} : { pattern }),
    ...(schedule === undefined ? {} : { schedule: String(schedule) }),
    targets: ((properties.Targets ?? []) as Json[]).map((target) => targetOf(resource, target)),
  };
}

/** The schedule; undefined when it is disabled. The zone of a `rate(...)` does not matter. */
export function scheduleOf(resource: Resource): { arn: string; expression: string; target: Target } | undefined {
  const known = [
    'Description',
    'FlexibleTimeWindow',
    'Name',
    'ScheduleExpression',
    'ScheduleExpressionTimezone',
    'State',
    'Target',
  ];
  const properties = knownProperties(resource, known);
  if (properties.State === 'DISABLED') return undefined;
  const mode = (properties.FlexibleTimeWindow as JsonObject | undefined)?.Mode;
  if (mode !== 'OFF')
    throw new Error(`The embedded AWS does not implement flexible time windows (resource ${resource.logicalId}).`);
  const target = targetOf(resource, properties.Target as Json);
  if (target.Input?.includes('<aws.scheduler.')) {
    throw new Error(
      `The embedded AWS does not implement <aws.scheduler.*> in an input (resource ${resource.logicalId}).`,
    );
  }
  return { arn: resource.attributes.Arn as string, expression: String(properties.ScheduleExpression), target };
}
