import { AwsError, type Caller, type PolicyStatement, type RequiredPermission } from '../core/service.ts';
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
export function authorize(caller: Caller, permission: RequiredPermission): void {
  if (plainlyAllowed(caller, permission)) return;
  const context = contextOf(caller, permission);
  let allowed = false;
  let nearest: Miss = { nearness: 0, reason: `no identity-based policy allows the ${permission.action} action` };
  for (const statement of caller.statements) {
    const miss = missOf(statement, permission, context);
    if (!miss && statement.Effect === 'Deny') {
      throw accessDenied(caller, permission, 'with an explicit deny in an identity-based policy');
    }
    if (!miss) allowed = true;
    else if (statement.Effect === 'Allow' && miss.nearness > nearest.nearness) nearest = miss;
  }
  if (!allowed) throw accessDenied(caller, permission, `because ${nearest.reason}`);
}

/** What a role's statements say of one action; they are asked about the same few again and again. */
interface About {
  statements: readonly PolicyStatement[];
  /** Resources on which the action is allowed whatever the request's condition keys. */
  free: ReadonlySet<string>;
}

const known = new WeakMap<readonly PolicyStatement[], Map<string, About>>();

function aboutAction(statements: readonly PolicyStatement[], action: string): About {
  const actions = known.get(statements) ?? new Map<string, About>();
  known.set(statements, actions);
  let about = actions.get(action);
  if (about === undefined) {
    const relevant = statements.filter(({ Action, NotAction }) => selects(Action, NotAction, namesAction(action)));
    const denied = relevant.some(({ Effect }) => Effect === 'Deny');
    const plain = denied ? [] : relevant.filter(({ Condition, NotResource }) => !Condition && !NotResource);
    about = { statements: relevant, free: new Set(plain.flatMap(({ Resource }) => Resource ?? [])) };
    actions.set(action, about);
  }
  return about;
}

/** What callers were plainly allowed before: each makes the same few calls again and again, on keys of its own. */
const allowedBefore = new WeakMap<Caller, Set<string>>();
const ALLOWED_LIMIT = 10_000;

/** The common case, without a search for the statement that came nearest. */
function plainlyAllowed(caller: Caller, permission: RequiredPermission): boolean {
  const { statements, free } = aboutAction(caller.statements, permission.action);
  if (free.has(permission.resource) || free.has('*')) return true;
  const before = allowedBefore.get(caller) ?? new Set();
  const asked = `${permission.action} ${permission.resource} ${JSON.stringify(permission.context)}`;
  if (before.has(asked)) return true;
  const allowed = isAllowed(statements, permission, contextOf(caller, permission));
  if (allowed && before.size < ALLOWED_LIMIT) allowedBefore.set(caller, before.add(asked));
  return allowed;
}

function isAllowed(statements: readonly PolicyStatement[], permission: RequiredPermission, context: Context): boolean {
  let allowed = false;
  for (const { Effect, Resource, NotResource, Condition } of statements) {
    if (Effect === 'Deny') return false;
    const named = NotResource === undefined && names(Resource, permission.resource);
    if (allowed || !(named || selects(Resource, NotResource, coversIn(permission.resource, context)))) continue;
    allowed = unmet(Condition, context) === undefined;
  }
  return allowed;
}

/** Whether a statement names a resource as it is: no variable has to be filled in and no pattern looked at. */
const names = (stated: string | string[] | undefined, resource: string): boolean =>
  stated === '*' || stated === resource || (Array.isArray(stated) && stated.includes(resource));

const namesAction = (action: string) => (pattern: string) =>
  matchesPattern(action.toLowerCase(), pattern.toLowerCase());

function accessDenied(caller: Caller, { action, resource }: RequiredPermission, reason: string): AwsError {
  return new AwsError(
    'AccessDeniedException',
    `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource} ${reason}`,
  );
}

function contextOf(caller: Caller, permission: RequiredPermission): Context {
  const context = new Map([['aws:userid', [caller.userId]]]);
  for (const [key, value] of Object.entries(permission.context ?? {})) context.set(key.toLowerCase(), [value].flat());
  return context;
}

/** Why a statement does not apply to a permission; undefined when it does. */
function missOf(
  statement: PolicyStatement,
  { action, resource }: RequiredPermission,
  context: Context,
): Miss | undefined {
  if (!selects(statement.Action, statement.NotAction, namesAction(action))) {
    return { nearness: 0, reason: `no identity-based policy allows the ${action} action` };
  }
  if (!selects(statement.Resource, statement.NotResource, coversIn(resource, context))) {
    const stated = statement.Resource ?? { NotResource: statement.NotResource };
    return { nearness: 1, reason: `the nearest statement allows it on ${JSON.stringify(stated)} only` };
  }
  const condition = unmet(statement.Condition, context);
  return condition === undefined
    ? undefined
    : { nearness: 2, reason: `the nearest statement's condition is not met: ${condition}` };
}

function coversIn(resource: string, context: Context) {
  return (pattern: string): boolean => {
    const arn = expanded(pattern, (variable) => context.get(variable.toLowerCase())?.[0]);
    return arn !== undefined && matchesArn(resource, arn);
  };
}

function selects(
  included: string | string[] | undefined,
  excluded: string | string[] | undefined,
  matches: (pattern: string) => boolean,
): boolean {
  if (typeof included === 'string') return matches(included);
  if (included !== undefined) return included.some(matches);
  return excluded !== undefined && ![excluded].flat().some(matches);
}
