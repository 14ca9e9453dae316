import { createHash } from 'node:crypto';

/** Where the stack is: what ARNs and generated names are made of. */
export interface Environment {
  region: string;
  account: string;
  stackName: string;
  /** What an HTTP API answers at, when it is not the address it would have in AWS. */
  apiEndpoint?: string | undefined;
}

/** What other resources can say of a resource: its `Ref` and its attributes. */
export interface Identity {
  ref: string;
  attributes: Record<string, string>;
}

interface ResourceType {
  /** The property that names the resource; without it the name is made of the stack's and the logical id. */
  nameProperty?: string;
  /** Known, but nothing the embedded AWS runs: see `INERT`. */
  inert?: true;
  identify(name: string, environment: Environment): Identity;
}

const arn = ({ region, account }: Environment, service: string, resource: string) =>
  `arn:aws:${service}:${region}:${account}:${resource}`;

/** A stable identifier of the given length and alphabet, for what AWS gives random ids. */
function generatedId(seed: string, length: number, alphabet: string): string {
  const digest = createHash('sha256').update(seed).digest();
  return Array.from({ length }, (_, index) => alphabet[(digest[index] as number) % alphabet.length]).join('');
}

const LOWER = 'abcdefghijklmnopqrstuvwxyz0123456789';
const UPPER = LOWER.toUpperCase();
const HEX = '0123456789abcdef';
const STREAM_LABEL = '2026-01-01T00:00:00.000';

const named = (nameProperty: string, identify: ResourceType['identify']): ResourceType => ({ nameProperty, identify });

const table = named('TableName', (name, environment) => {
  const tableArn = arn(environment, 'dynamodb', `table/${name}`);
  return { ref: name, attributes: { Arn: tableArn, StreamArn: `${tableArn}/stream/${STREAM_LABEL}` } };
});

/** Parts of an API, which other resources name by an id alone. */
const partOfApi = (attribute: string): ResourceType => ({
  identify: (name) => {
    const id = generatedId(name, 7, LOWER);
    return { ref: id, attributes: { [attribute]: id } };
  },
});

/**
 * Resource types the embedded AWS accepts and does nothing with, for they only watch, or permit what it permits anyway
 * (it does not enforce resource-based policies). Alarms never fire, and logs go to standard output.
 */
const INERT = {
  'AWS::CDK::Metadata': undefined,
  'AWS::CloudWatch::Alarm': 'AlarmName',
  'AWS::CloudWatch::CompositeAlarm': 'AlarmName',
  'AWS::CloudWatch::Dashboard': 'DashboardName',
  'AWS::Lambda::Permission': undefined,
  'AWS::Logs::LogGroup': 'LogGroupName',
  'AWS::Logs::MetricFilter': undefined,
  'AWS::Logs::ResourcePolicy': 'PolicyName',
  'AWS::SNS::Subscription': undefined,
  'AWS::SNS::TopicPolicy': undefined,
  'AWS::SQS::QueuePolicy': undefined,
} as const;

const INERT_ARNS: Record<string, (name: string, environment: Environment) => string> = {
  'AWS::CloudWatch::Alarm': (name, environment) => arn(environment, 'cloudwatch', `alarm:${name}`),
  'AWS::CloudWatch::CompositeAlarm': (name, environment) => arn(environment, 'cloudwatch', `alarm:${name}`),
  'AWS::Logs::LogGroup': (name, environment) => arn(environment, 'logs', `log-group:${name}:*`),
};

const TYPES: Record<string, ResourceType> = {
  'AWS::DynamoDB::Table': table,
  'AWS::DynamoDB::GlobalTable': table,
  'AWS::Lambda::Function': named('FunctionName', (name, environment) => ({
    ref: name,
    attributes: { Arn: arn(environment, 'lambda', `function:${name}`) },
  })),
  'AWS::Lambda::EventSourceMapping': {
    identify: (name) => {
      const id = generatedId(name, 32, HEX).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
      return { ref: id, attributes: { Id: id } };
    },
  },
  'AWS::IAM::Role': named('RoleName', (name, environment) => ({
    ref: name,
    attributes: {
      Arn: `arn:aws:iam::${environment.account}:role/${name}`,
      RoleId: `AROA${generatedId(name, 17, UPPER)}`,
    },
  })),
  'AWS::IAM::Policy': named('PolicyName', (name) => ({ ref: name, attributes: {} })),
  'AWS::IAM::ManagedPolicy': named('ManagedPolicyName', (name, environment) => {
    const policyArn = `arn:aws:iam::${environment.account}:policy/${name}`;
    return { ref: policyArn, attributes: { PolicyArn: policyArn } };
  }),
  'AWS::StepFunctions::StateMachine': named('StateMachineName', (name, environment) => {
    const machineArn = arn(environment, 'states', `stateMachine:${name}`);
    return { ref: machineArn, attributes: { Arn: machineArn, Name: name } };
  }),
  'AWS::SSM::Document': named('Name', (name) => ({ ref: name, attributes: {} })),
  'AWS::Events::Rule': named('Name', (name, environment) => ({
    ref: name,
    attributes: { Arn: arn(environment, 'events', `rule/${name}`) },
  })),
  'AWS::Scheduler::Schedule': named('Name', (name, environment) => ({
    ref: name,
    attributes: { Arn: arn(environment, 'scheduler', `schedule/default/${name}`) },
  })),
  'AWS::SQS::Queue': named('QueueName', (name, environment) => {
    const url = `https://sqs.${environment.region}.amazonaws.com/${environment.account}/${name}`;
    return { ref: url, attributes: { Arn: arn(environment, 'sqs', name), QueueName: name, QueueUrl: url } };
  }),
  'AWS::SNS::Topic': named('TopicName', (name, environment) => {
    const topicArn = arn(environment, 'sns', name);
    return { ref: topicArn, attributes: { TopicArn: topicArn, TopicName: name } };
  }),
  'AWS::ApiGatewayV2::Api': {
    identify: (name, { region, apiEndpoint }) => {
      const id = generatedId(name, 10, LOWER);
      const endpoint = apiEndpoint ?? `https://${id}.execute-api.${region}.amazonaws.com`;
      return { ref: id, attributes: { ApiId: id, ApiEndpoint: endpoint } };
    },
  },
  'AWS::ApiGatewayV2::Stage': named('StageName', (name) => ({ ref: name, attributes: {} })),
  'AWS::ApiGatewayV2::Route': partOfApi('RouteId'),
  'AWS::ApiGatewayV2::Integration': partOfApi('IntegrationId'),
  'AWS::ApiGatewayV2::Authorizer': partOfApi('AuthorizerId'),
  ...Object.fromEntries(
    Object.entries(INERT).map(([type, nameProperty]): [string, ResourceType] => [
      type,
      {
        ...(nameProperty === undefined ? {} : { nameProperty }),
        inert: true,
        identify: (name, environment) => {
          const inertArn = INERT_ARNS[type]?.(name, environment);
          return { ref: name, attributes: inertArn === undefined ? {} : { Arn: inertArn } };
        },
      },
    ]),
  ),
};

/** The type's entry; fails by name on a type that the embedded AWS does not know. */
export function resourceType(type: string, logicalId: string): ResourceType {
  const known = TYPES[type];
  if (known === undefined) throw new Error(`The embedded AWS does not implement ${type} (resource ${logicalId}).`);
  return known;
}
