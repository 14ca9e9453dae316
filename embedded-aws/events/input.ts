import type { Json, JsonObject } from '../core/service.ts';

/** How a target's input is made of the event: at most one of the three is given. */
export interface TargetInput {
  Input?: string;
  InputPath?: string;
  InputTransformer?: { InputPathsMap?: Record<string, string>; InputTemplate: string };
}

/** What the reserved variables of an input transformer stand for. */
export interface RuleContext {
  ruleArn: string;
  ruleName: string;
  ingestionTime: string;
}

/** The input a target gets: the constant, the part of the event, the transformed template, or the whole event. */
export function targetInput(target: TargetInput, event: JsonObject, context: RuleContext): Json {
  if (target.Input !== undefined) return JSON.parse(target.Input) as Json;
  if (target.InputPath !== undefined) return lookUp(event, target.InputPath) ?? null;
  if (target.InputTransformer !== undefined) return transform(target.InputTransformer, event, context);
  return event;
}

/**
 * Fills `<variable>` places. Outside of quotes a value goes in as JSON; within a quoted string it goes in as bare text, not
 * escaped, as in AWS. A template that is not JSON afterwards is handed over as a string.
 */
function transform(
  { InputPathsMap = {}, InputTemplate }: NonNullable<TargetInput['InputTransformer']>,
  event: JsonObject,
  context: RuleContext,
): Json {
  const variables: Record<string, Json | undefined> = {
    'aws.events.rule-arn': context.ruleArn,
    'aws.events.rule-name': context.ruleName,
    'aws.events.event.ingestion-time': context.ingestionTime,
    'aws.events.event': event,
    'aws.events.event.json': event,
  };
  for (const [name, path] of Object.entries(InputPathsMap)) variables[name] = lookUp(event, path);

  let quoted = false;
  const filled = InputTemplate.replace(/\\.|"|<([A-Za-z0-9._-]+)>/gs, (found, name: string | undefined) => {
    if (found === '"') quoted = !quoted;
    if (name === undefined || !Object.hasOwn(variables, name)) return found;
    const value = variables[name];
    if (!quoted) return JSON.stringify(value ?? null);
    return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
  });
  try {
    return JSON.parse(filled) as Json;
  } catch {
    return filled;
  }
}

/** The part of a document a path such as `$.detail.items[0].id` names; undefined when it is not there. */
function lookUp(document: Json, path: string): Json | undefined {
  const steps = path.match(/^\$((\.[A-Za-z0-9_-]+)|(\[\d+\]))*$/) && path.match(/[A-Za-z0-9_-]+/g);
  if (path !== '$' && !steps) throw new Error(`The embedded AWS does not implement the JSON path "${path}".`);
  let value: Json | undefined = document;
  for (const step of steps ?? []) {
    if (value === null || typeof value !== 'object') return undefined;
    value = Array.isArray(value) ? value[Number(step)] : Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}
