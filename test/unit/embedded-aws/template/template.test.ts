// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Fn::Sub has its own ${variables}.
import { describe, expect, it } from 'vitest';
import type { Json } from '../../../../embedded-aws/core/service.ts';
import type { Template } from '../../../../embedded-aws/template/assembly.ts';
import { knownProperties, resolveTemplate } from '../../../../embedded-aws/template/template.ts';

const environment = { region: 'eu-north-1', account: '111122223333', stackName: 'Demo' };

/** What a value becomes, in a template with one table, one role and some conditions. */
function resolved(value: Json, more: Partial<Template> = {}): string | undefined {
  const template: Template = {
    Resources: {
      Table: { Type: 'AWS::DynamoDB::Table' },
      Named: { Type: 'AWS::SQS::Queue', Properties: { QueueName: { 'Fn::Sub': 'dead-${AWS::Region}' } } },
      Role: { Type: 'AWS::IAM::Role' },
    },
    Conditions: { Yes: { 'Fn::Equals': ['a', 'a'] }, No: { 'Fn::Not': [{ Condition: 'Yes' }] } },
    Mappings: { Sizes: { 'eu-north-1': { small: '1' } } },
    Parameters: { BootstrapVersion: { Type: 'AWS::SSM::Parameter::Value<String>', Default: '/cdk/version' } },
    Outputs: { Value: { Value: value } },
    ...more,
  };
  return resolveTemplate(template, environment).outputs.Value;
}

describe('resolveTemplate', () => {
  const join = (...parts: Json[]): Json => ({ 'Fn::Join': ['|', parts] });
  it.each<[what: string, value: Json, expected: string]>([
    ['Ref of a resource without a name', { Ref: 'Table' }, 'Demo-Table'],
    [
      'Ref of a resource with a name',
      { Ref: 'Named' },
      'https://sqs.eu-north-1.amazonaws.com/111122223333/dead-eu-north-1',
    ],
    ['a parameter with a default', { Ref: 'BootstrapVersion' }, '/cdk/version'],
    ['an ARN', { 'Fn::GetAtt': ['Table', 'Arn'] }, 'arn:aws:dynamodb:eu-north-1:111122223333:table/Demo-Table'],
    ['GetAtt as a string', { 'Fn::GetAtt': 'Named.QueueName' }, 'dead-eu-north-1'],
    [
      'pseudo parameters',
      join({ Ref: 'AWS::Region' }, { Ref: 'AWS::AccountId' }, { Ref: 'AWS::Partition' }),
      'eu-north-1|111122223333|aws',
    ],
    ['a list element without value', join('a', { Ref: 'AWS::NoValue' }, 'b'), 'a|b'],
    [
      'Sub',
      { 'Fn::Sub': '${Table.Arn}/${AWS::StackName}/${!Literal}' },
      'arn:aws:dynamodb:eu-north-1:111122223333:table/Demo-Table/Demo/${Literal}',
    ],
    ['Sub with variables', { 'Fn::Sub': ['${x}-${Table}', { x: { Ref: 'AWS::Region' } }] }, 'eu-north-1-Demo-Table'],
    ['Select and Split', { 'Fn::Select': ['1', { 'Fn::Split': [':', { 'Fn::GetAtt': ['Table', 'Arn'] }] }] }, 'aws'],
    ['If of a true condition', { 'Fn::If': ['Yes', 'then', 'else'] }, 'then'],
    ['If of a false condition', { 'Fn::If': ['No', 'then', 'else'] }, 'else'],
    ['FindInMap', { 'Fn::FindInMap': ['Sizes', { Ref: 'AWS::Region' }, 'small'] }, '1'],
  ])('resolves %s', (_, value, expected) => {
    expect(resolved(value)).toBe(expected);
  });

  it.each<[what: string, value: Json, named: string]>([
    ['function', { 'Fn::Cidr': ['10.0.0.0/8', 1, 8] }, 'Fn::Cidr'],
    ['resource', { Ref: 'Absent' }, 'Absent'],
    ['attribute', { 'Fn::GetAtt': ['Table', 'Weight'] }, 'Weight of AWS::DynamoDB::Table'],
    ['condition', { 'Fn::If': ['Maybe', 'a', 'b'] }, 'Maybe'],
  ])('fails by name on an unknown %s', (_, value, named) => {
    expect(() => resolved(value)).toThrow(named);
  });

  it('fails by name on an unknown resource type, but leaves inert ones out', () => {
    const withType = (Type: string): Template => ({ Resources: { Thing: { Type } } });
    expect(() => resolveTemplate(withType('AWS::EC2::Instance'), environment)).toThrow(
      'AWS::EC2::Instance (resource Thing)',
    );
    expect(resolveTemplate(withType('AWS::CloudWatch::Dashboard'), environment).resources).toEqual([]);
  });

  it('leaves out resources whose condition does not hold', () => {
    const conditional: Template['Resources'] = { Topic: { Type: 'AWS::SNS::Topic', Condition: 'No' } };
    const template = { Resources: conditional, Conditions: { No: { 'Fn::Equals': ['a', 'b'] } } };
    expect(resolveTemplate(template, environment).resources).toEqual([]);
  });

  it('lets resources refer to each other in a circle', () => {
    const ref = (id: string): Json => ({ 'Fn::GetAtt': [id, 'Arn'] });
    const template: Template = {
      Resources: {
        A: { Type: 'AWS::Lambda::Function', Properties: { Other: ref('B') } },
        B: { Type: 'AWS::Lambda::Function', Properties: { Other: ref('A') } },
      },
    };
    const [a] = resolveTemplate(template, environment).resources;
    expect(a?.properties).toEqual({ Other: 'arn:aws:lambda:eu-north-1:111122223333:function:Demo-B' });
  });

  it('gives roles an id that stays the same and looks like one', () => {
    const id = resolved({ 'Fn::GetAtt': ['Role', 'RoleId'] });
    expect(id).toMatch(/^AROA[A-Z0-9]{17}$/);
    expect(resolved({ 'Fn::GetAtt': ['Role', 'RoleId'] })).toBe(id);
  });

  it('gives the API the endpoint that was configured', () => {
    const template: Template = {
      Resources: { Api: { Type: 'AWS::ApiGatewayV2::Api' } },
      Outputs: { Url: { Value: { 'Fn::GetAtt': ['Api', 'ApiEndpoint'] } } },
    };
    const at = (apiEndpoint?: string) => resolveTemplate(template, { ...environment, apiEndpoint }).outputs.Url;
    expect(at()).toMatch(/^https:\/\/[a-z0-9]{10}\.execute-api\.eu-north-1\.amazonaws\.com$/);
    expect(at('http://127.0.0.1:4566')).toBe('http://127.0.0.1:4566');
  });

  it('fails by name on a property that is not understood', () => {
    const template: Template = { Resources: { Q: { Type: 'AWS::SQS::Queue', Properties: { FifoQueue: true } } } };
    const [queue] = resolveTemplate(template, environment).resources;
    expect(() => knownProperties(queue!, ['QueueName'])).toThrow('FifoQueue of AWS::SQS::Queue (resource Q)');
  });
});
