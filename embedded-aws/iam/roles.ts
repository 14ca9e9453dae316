import type { Caller, JsonObject, PolicyStatement } from '../core/service.ts';
import { knownProperties, type Resource } from '../template/template.ts';

export interface Role {
  arn: string;
  id: string;
  name: string;
  /** The service principals that may assume it. */
  trusts: string[];
  statements: PolicyStatement[];
}

export interface Roles {
  has(roleArn: string): boolean;
  /** The role's session; fails when the template has no such role, or the role does not trust `service`. */
  session(roleArn: string, sessionName: string, service: string): Caller;
  trustedBy(service: string): Role[];
}

/**
 * AWS's own policies that roles may name. What they allow (logs, traces, the SSM agent's own calls) is nothing the
 * embedded AWS has, so they add no statements.
 */
const AWS_POLICIES = [
  'service-role/AWSLambdaBasicExecutionRole',
  'service-role/AWSLambdaDynamoDBExecutionRole',
  'AmazonSSMManagedInstanceCore',
  'AWSXRayDaemonWriteAccess',
];

const PROPERTIES: Record<string, readonly string[]> = {
  'AWS::IAM::Role': [
    'AssumeRolePolicyDocument',
    'Description',
    'ManagedPolicyArns',
    'MaxSessionDuration',
    'Policies',
    'RoleName',
    'Tags',
  ],
  'AWS::IAM::Policy': ['PolicyDocument', 'PolicyName', 'Roles'],
  'AWS::IAM::ManagedPolicy': ['Description', 'ManagedPolicyName', 'Path', 'PolicyDocument', 'Roles'],
};

/** The template's roles, each with all statements of the policies that are attached to it. */
export function readRoles(resources: readonly Resource[]): Roles {
  const all = (type: string) => resources.filter((resource) => resource.type === type);
  const policies = [...all('AWS::IAM::Policy'), ...all('AWS::IAM::ManagedPolicy')];
  const roles = new Map<string, Role>();
  for (const resource of all('AWS::IAM::Role')) {
    const properties = knownProperties(resource, PROPERTIES[resource.type] as string[]);
    const arns = (properties.ManagedPolicyArns ?? []) as string[];
    const attached = policies.filter((policy) => {
      const { Roles } = knownProperties(policy, PROPERTIES[policy.type] as string[]);
      return ((Roles ?? []) as string[]).includes(resource.ref) || arns.includes(policy.ref);
    });
    for (const arn of arns) {
      const known = AWS_POLICIES.some((name) => arn === `arn:aws:iam::aws:policy/${name}`);
      if (!known && !attached.some((policy) => policy.ref === arn)) {
        throw new Error(`The embedded AWS does not know the policy ${arn} (resource ${resource.logicalId}).`);
      }
    }
    const documents = [
      ...((properties.Policies ?? []) as JsonObject[]).map((policy) => policy.PolicyDocument),
      ...attached.map((policy) => policy.properties.PolicyDocument),
    ];
    const { Arn: arn = '', RoleId: id = '' } = resource.attributes;
    const trusts = statementsOf(properties.AssumeRolePolicyDocument as JsonObject).flatMap(
      (statement) => (statement as { Principal?: { Service?: string | string[] } }).Principal?.Service ?? [],
    );
    roles.set(arn, {
      arn,
      id,
      name: resource.ref,
      trusts,
      statements: documents.flatMap((each) => statementsOf(each as JsonObject)),
    });
  }

  return {
    has: (roleArn) => roles.has(roleArn),
    session(roleArn, sessionName, service) {
      const role = roles.get(roleArn);
      if (role === undefined) throw new Error(`The template has no role ${roleArn}.`);
      if (!role.trusts.includes(service)) throw new Error(`The role ${roleArn} does not trust ${service}.`);
      const account = roleArn.split(':')[4];
      return {
        arn: `arn:aws:sts::${account}:assumed-role/${role.name}/${sessionName}`,
        userId: `${role.id}:${sessionName}`,
        statements: role.statements,
      };
    },
    trustedBy: (service) => [...roles.values()].filter(({ trusts }) => trusts.includes(service)),
  };
}

const statementsOf = ({ Statement }: JsonObject): PolicyStatement[] =>
  (Array.isArray(Statement) ? Statement : [Statement]) as unknown as PolicyStatement[];
