import { AwsError, type Caller, type Demand, type PolicyStatement } from '../service.ts';
import { type Context, unmet } from './conditions.ts';
import { expanded, matchesArn, matchesPattern } from './patterns.ts';

/** How far a statement was from applying: the later the part that did not match, the nearer. */
interface Miss {
  nearness: 0 | 1 | 2;
  reason: string;
}

/**
 * Lets a call pass when one of the caller's statements allows it and none denies it. Fails with AccessDeniedException,
 * saying which statement came nearest, and with NotImplemented when a statement uses a condition operator unknown here.
 */
export function authorize(caller: Caller, demand: Demand): void {
  const context = contextOf(caller, demand);
  let allowed = false;
  let nearest: Miss = { nearness: 0, reason: `no identity-based policy allows the ${demand.action} action` };
  for (const statement of caller.statements) {
    const miss = missOf(statement, demand, context);
    if (!miss && statement.Effect === 'Deny') {
      throw accessDenied(caller, demand, 'with an explicit deny in an identity-based policy');
    }
    if (!miss) allowed = true;
    else if (statement.Effect === 'Allow' && miss.nearness > nearest.nearness) nearest = miss;
  }
  if (!allowed) throw accessDenied(caller, demand, `because ${nearest.reason}`);
}

function accessDenied(caller: Caller, { action, resource }: Demand, reason: string): AwsError {
  return new AwsError(
    'AccessDeniedException',
    `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource} ${reason}`,
  );
}

function contextOf(caller: Caller, demand: Demand): Context {
  const context = new Map([['aws:userid', [caller.userId]]]);
  for (const [key, value] of Object.entries(demand.context ?? {})) context.set(key.toLowerCase(), [value].flat());
  return context;
}

/** Why a statement does not apply to a demand; undefined when it does. */
function missOf(statement: PolicyStatement, { action, resource }: Demand, context: Context): Miss | undefined {
  const names = (pattern: string) => matchesPattern(action.toLowerCase(), pattern.toLowerCase());
  if (!selects(statement.Action, statement.NotAction, names)) {
    return { nearness: 0, reason: `no identity-based policy allows the ${action} action` };
  }
  const covers = (pattern: string) => {
    const arn = expanded(pattern, (variable) => context.get(variable.toLowerCase())?.[0]);
    return arn !== undefined && matchesArn(resource, arn);
  };
  if (!selects(statement.Resource, statement.NotResource, covers)) {
    const stated = statement.Resource ?? { NotResource: statement.NotResource };
    return { nearness: 1, reason: `the nearest statement allows it on ${JSON.stringify(stated)} only` };
  }
  const condition = unmet(statement.Condition, context);
  return condition === undefined
    ? undefined
    : { nearness: 2, reason: `the nearest statement's condition is not met: ${condition}` };
}

function selects(
  included: string | string[] | undefined,
  excluded: string | string[] | undefined,
  matches: (pattern: string) => boolean,
): boolean {
  if (included !== undefined) return [included].flat().some(matches);
  return excluded !== undefined && ![excluded].flat().some(matches);
}
