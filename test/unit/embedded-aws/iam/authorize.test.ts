import { describe, expect, it } from 'vitest';
import type {
  AwsError,
  Caller,
  PolicyStatement,
  RequiredPermission,
  Service,
} from '../../../../embedded-aws/core/service.ts';
import { authorize } from '../../../../embedded-aws/iam/authorize.ts';
import { authorizedCalls } from '../../../../embedded-aws/iam/call.ts';

const TABLE = 'arn:aws:dynamodb:eu-central-1:123456789012:table/Mailbox';
const USER_ID = 'AROAEXAMPLE:mi-0123456789abcdef0';

function caller(...statements: PolicyStatement[]): Caller {
  return { arn: 'arn:aws:sts::123456789012:assumed-role/host/mi-0123456789abcdef0', userId: USER_ID, statements };
}

function permission(more: Partial<RequiredPermission> = {}): RequiredPermission {
  return { action: 'dynamodb:GetItem', resource: TABLE, ...more };
}

function allows(statement: Partial<PolicyStatement>, asked: RequiredPermission = permission()): boolean {
  const whole: PolicyStatement = { Effect: 'Allow', Action: 'dynamodb:GetItem', Resource: '*', ...statement };
  return passes([whole], asked);
}

function passes(statements: PolicyStatement[], asked: RequiredPermission): boolean {
  try {
    authorize(caller(...statements), asked);
    return true;
  } catch (error) {
    if ((error as AwsError).code === 'AccessDeniedException') return false;
    throw error;
  }
}

describe('actions and resources', () => {
  it.each<[Partial<PolicyStatement>, boolean]>([
    [{ Action: 'dynamodb:GetItem' }, true],
    [{ Action: 'DynamoDB:getitem' }, true],
    [{ Action: ['dynamodb:PutItem', 'dynamodb:Get*'] }, true],
    [{ Action: 'dynamodb:GetIte?' }, true],
    [{ Action: '*' }, true],
    [{ Action: 'dynamodb:PutItem' }, false],
    [{ Action: 'dynamodb:Get' }, false],
    [{ Resource: TABLE }, true],
    [{ Resource: ['arn:aws:ssm:*:*:*', TABLE] }, true],
    [{ Resource: 'arn:aws:dynamodb:*:123456789012:table/*' }, true],
    [{ Resource: 'arn:aws:dynamodb:*:table/Mailbox' }, false],
    [{ Resource: 'arn:aws:dynamodb:*:*:table/mailbox' }, false],
    [{ Resource: `${TABLE}/index/*` }, false],
    [{ Resource: 'arn:aws:dynamodb:*:*:table/${aws:nothing}' }, false],
  ])('%o: %s', (statement, allowed) => {
    expect(allows(statement)).toBe(allowed);
  });

  it.each<[PolicyStatement, boolean]>([
    [{ Effect: 'Allow', NotAction: 'dynamodb:PutItem', Resource: '*' }, true],
    [{ Effect: 'Allow', NotAction: 'dynamodb:*', Resource: '*' }, false],
    [{ Effect: 'Allow', Action: '*', NotResource: `${TABLE}/index/*` }, true],
    [{ Effect: 'Allow', Action: '*', NotResource: TABLE }, false],
  ])('%o: %s', (statement, allowed) => {
    expect(passes([statement], permission())).toBe(allowed);
  });

  it('puts a Deny over every Allow, wherever it stands', () => {
    const all: PolicyStatement = { Effect: 'Allow', Action: '*', Resource: '*' };
    const not: PolicyStatement = { Effect: 'Deny', Action: 'dynamodb:Get*', Resource: TABLE };
    expect([passes([all, not], permission()), passes([not, all], permission())]).toEqual([false, false]);
    expect(passes([all, not], permission({ action: 'dynamodb:PutItem' }))).toBe(true);
    expect(passes([], permission())).toBe(false);
  });
});

describe('conditions', () => {
  const one = { 'dynamodb:Select': 'COUNT', 'aws:Count': '5', 'aws:Arn': TABLE, 'aws:Secure': 'true' };

  it.each<[NonNullable<PolicyStatement['Condition']>, boolean]>([
    [{ StringEquals: { 'dynamodb:Select': 'COUNT' } }, true],
    [{ StringEquals: { 'DYNAMODB:select': 'COUNT' } }, true],
    [{ StringEquals: { 'dynamodb:Select': ['ALL', 'COUNT'] } }, true],
    [{ StringEquals: { 'dynamodb:Select': 'count' } }, false],
    [{ StringEquals: { 'dynamodb:Select': 'C*' } }, false],
    [{ StringEquals: { absent: 'x' } }, false],
    [{ StringEqualsIfExists: { absent: 'x' } }, true],
    [{ StringEqualsIfExists: { 'dynamodb:Select': 'x' } }, false],
    [{ StringEqualsIgnoreCase: { 'dynamodb:Select': 'count' } }, true],
    [{ StringNotEquals: { 'dynamodb:Select': 'COUNT' } }, false],
    [{ StringNotEquals: { 'dynamodb:Select': ['ALL', 'COUNT'] } }, false],
    [{ StringNotEquals: { 'dynamodb:Select': 'ALL' } }, true],
    [{ StringNotEquals: { absent: 'x' } }, true],
    [{ StringLike: { 'dynamodb:Select': 'C*T' } }, true],
    [{ StringLike: { 'dynamodb:Select': 'C?T' } }, false],
    [{ StringNotLike: { 'dynamodb:Select': 'C*' } }, false],
    [{ ArnLike: { 'aws:Arn': 'arn:aws:dynamodb:*:*:table/Mail*' } }, true],
    [{ ArnEquals: { 'aws:Arn': 'arn:aws:dynamodb:*:*:table/Mail*' } }, true],
    [{ ArnLike: { 'aws:Arn': 'arn:aws:dynamodb:*:table/Mail*' } }, false],
    [{ ArnNotLike: { 'aws:Arn': 'arn:aws:ssm:*:*:*' } }, true],
    [{ Bool: { 'aws:Secure': 'true' } }, true],
    [{ Bool: { 'aws:Secure': 'false' } }, false],
    [{ NumericEquals: { 'aws:Count': '5.0' } }, true],
    [{ NumericLessThan: { 'aws:Count': '5' } }, false],
    [{ NumericGreaterThanEquals: { 'aws:Count': '5' } }, true],
    [{ Null: { absent: 'true' } }, true],
    [{ Null: { absent: 'false' } }, false],
    [{ Null: { 'aws:Count': 'false' } }, true],
    [{ StringEquals: { 'dynamodb:Select': 'COUNT', 'aws:Count': '6' } }, false],
    [{ StringEquals: { 'dynamodb:Select': 'COUNT' }, NumericEquals: { 'aws:Count': '6' } }, false],
  ])('%j: %s', (Condition, allowed) => {
    expect(allows({ Condition }, permission({ context: one }))).toBe(allowed);
  });

  it.each<[string, string[] | undefined, boolean]>([
    ['ForAllValues:StringEquals', ['a', 'b'], true],
    ['ForAllValues:StringEquals', ['a', 'c'], false],
    ['ForAllValues:StringEquals', undefined, true],
    ['ForAnyValue:StringEquals', ['a', 'c'], true],
    ['ForAnyValue:StringEquals', ['c'], false],
    ['ForAnyValue:StringEquals', undefined, false],
    ['ForAllValues:StringNotEquals', ['c', 'd'], true],
    ['ForAllValues:StringNotEquals', ['a', 'c'], false],
    ['ForAnyValue:StringNotEquals', ['a', 'c'], true],
  ])('%s [a, b] with %j: %s', (operator, values, allowed) => {
    const Condition = { [operator]: { 'dynamodb:LeadingKeys': ['a', 'b'] } };
    const context = values === undefined ? {} : { 'dynamodb:LeadingKeys': values };
    expect(allows({ Condition }, permission({ context }))).toBe(allowed);
  });

  it.each(['DateLessThan', 'ForAllValues:IpAddress', 'toString', 'stringequals'])('refuses %s by name', (operator) => {
    const statement: PolicyStatement = {
      Effect: 'Allow',
      Action: '*',
      Resource: '*',
      Condition: { [operator]: { a: 'b' } },
    };
    expect(() => authorize(caller(statement), permission())).toThrow(
      `The embedded AWS does not implement the IAM condition operator ${operator}.`,
    );
  });

  it('refuses an operator for one value on several', () => {
    const Condition = { StringEquals: { 'dynamodb:LeadingKeys': 'a' } };
    const context = { 'dynamodb:LeadingKeys': ['a', 'b'] };
    expect(() => allows({ Condition }, permission({ context }))).toThrow('say ForAllValues: or ForAnyValue:');
  });
});

describe('policy variables', () => {
  const own: PolicyStatement = {
    Effect: 'Allow',
    Action: ['dynamodb:GetItem', 'dynamodb:Scan'],
    Resource: TABLE,
    Condition: {
      'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['${aws:userid}'] },
      Null: { 'dynamodb:LeadingKeys': 'false' },
    },
  };

  it.each<[string, string[] | undefined, boolean]>([
    ['dynamodb:GetItem', [USER_ID], true],
    ['dynamodb:GetItem', ['AROAEXAMPLE:mi-other'], false],
    ['dynamodb:GetItem', [USER_ID, 'AROAEXAMPLE:mi-other'], false],
    ['dynamodb:Scan', undefined, false],
  ])('keep a host to its own partition: %s of %j: %s', (action, keys, allowed) => {
    const context = keys === undefined ? {} : { 'dynamodb:LeadingKeys': keys };
    expect(passes([own], permission({ action, context }))).toBe(allowed);
  });

  it.each([
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: policy variables
    ['x/${aws:name}', 'x/a*', true],
    ['x/${aws:name}', 'x/abc', false],
    ['${aws:absent}', '', false],
    ["${aws:absent, 'nobody'}", 'nobody', true],
    ['a${*}', 'a*', true],
    ['a${*}', 'abc', false],
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: policy variables
  ])('StringLike %s with %s: %s', (pattern, value, allowed) => {
    const context = { 'aws:name': 'a*', 'aws:value': value };
    expect(allows({ Condition: { StringLike: { 'aws:value': pattern } } }, permission({ context }))).toBe(allowed);
  });
});

describe('the refusal', () => {
  const allow: PolicyStatement = { Effect: 'Allow', Action: 'dynamodb:GetItem', Resource: '*' };
  const prefix = `User: ${caller().arn} is not authorized to perform: dynamodb:GetItem on resource: ${TABLE} `;

  it.each<[string, PolicyStatement[], string]>([
    [
      'no action',
      [{ ...allow, Action: 'ssm:*' }],
      'because no identity-based policy allows the dynamodb:GetItem action',
    ],
    ['no resource', [{ ...allow, Resource: 'arn:x' }], 'because the nearest statement allows it on "arn:x" only'],
    [
      'no condition',
      [
        { ...allow, Resource: 'arn:x' },
        { ...allow, Condition: { StringEquals: { 'dynamodb:LeadingKeys': 'mine' } } },
      ],
      `because the nearest statement's condition is not met: StringEquals dynamodb:LeadingKeys "mine", but the request has ["theirs"]`,
    ],
    ['a denial', [allow, { ...allow, Effect: 'Deny' }], 'with an explicit deny in an identity-based policy'],
  ])('names caller, action, resource and %s', (_, statements, reason) => {
    const asked = permission({ context: { 'dynamodb:LeadingKeys': ['theirs'] } });
    expect(() => authorize(caller(...statements), asked)).toThrow(prefix + reason);
  });
});

describe('authorizedCalls', () => {
  const calls: string[] = [];
  const service: Service = {
    requiredPermissions: () => [permission(), permission({ action: 'dynamodb:PutItem' })],
    call: async (operation) => {
      calls.push(operation);
      return { done: true };
    },
  };
  const call = authorizedCalls({ dynamodb: service });

  it('makes a call only when all it permissions is allowed', async () => {
    const some = caller({ Effect: 'Allow', Action: 'dynamodb:GetItem', Resource: '*' });
    const all = caller({ Effect: 'Allow', Action: 'dynamodb:*', Resource: '*' });
    await expect(call('dynamodb', 'Refused', {}, some)).rejects.toMatchObject({ code: 'AccessDeniedException' });
    expect(await call('dynamodb', 'Allowed', {}, all)).toEqual({ done: true });
    expect(calls).toEqual(['Allowed']);
  });

  it.each(['s3', 'toString'])('refuses the service %s by name', async (name) => {
    await expect(call(name, 'Any', {}, caller())).rejects.toMatchObject({
      code: 'NotImplemented',
      message: `The embedded AWS does not implement the service ${name}.`,
    });
  });
});
