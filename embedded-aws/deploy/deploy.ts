import type { Clock } from '../../common/clock.ts';
import type { CallAws, Caller, Json, JsonObject } from '../core/service.ts';
import type { DynamoDb } from '../dynamodb/service.ts';
import type { EventBridge } from '../events/event-bridge.ts';
import { createEventSource } from '../lambda/event-source.ts';
import type { Lambda } from '../lambda/lambda.ts';
import type { Queues } from '../messages/queues.ts';
import { queueUrl } from '../messages/queues.ts';
import type { Topics } from '../messages/topics.ts';
import type { Ssm } from '../ssm/ssm.ts';
import { knownProperties, type Resource } from '../template/template.ts';
import { ruleOf, scheduleOf } from './events.ts';
import { eventSourceMapping, loadFunctions } from './functions.ts';
import { stateMachineInput } from './state-machines.ts';
import { tableCalls } from './tables.ts';

export interface DeployOptions {
  clock: Clock;
  region: string;
  logLevel: string;
  assets: ReadonlyMap<string, string>;
  callAws: CallAws;
  /** Who makes the resources. */
  admin: Caller;
  signal: AbortSignal;
  report: (message: string) => void;
  dynamodb: DynamoDb;
  lambda: Lambda;
  /** How a stream's records reach a function. */
  deliver: Lambda['invoke'];
  events: EventBridge;
  ssm: Ssm;
  queues: Queues;
  topics: Topics;
}

/** Makes everything a template declares, in an order in which nothing refers to what is not there yet. */
export async function deploy(resources: readonly Resource[], options: DeployOptions): Promise<void> {
  const { admin, callAws, dynamodb, events, lambda } = options;
  const all = (type: string) => resources.filter((resource) => resource.type === type);

  for (const resource of [...all('AWS::DynamoDB::Table'), ...all('AWS::DynamoDB::GlobalTable')]) {
    const { create, timeToLive } = tableCalls(resource);
    await callAws('dynamodb', 'CreateTable', create, admin);
    if (timeToLive !== undefined) await callAws('dynamodb', 'UpdateTimeToLive', timeToLive, admin);
  }
  for (const resource of all('AWS::SSM::Document')) {
    options.ssm.putDocument(resource.ref, documentContent(resource));
  }
  for (const resource of all('AWS::SQS::Queue')) {
    knownProperties(resource, [
      'KmsMasterKeyId',
      'MessageRetentionPeriod',
      'QueueName',
      'SqsManagedSseEnabled',
      'Tags',
    ]);
    options.queues.create(resource.attributes.Arn as string);
  }
  for (const resource of all('AWS::SNS::Topic')) {
    knownProperties(resource, ['DisplayName', 'KmsMasterKeyId', 'Tags', 'TopicName']);
    options.topics.create(resource.ref);
  }
  for (const lambdaFunction of await loadFunctions(all('AWS::Lambda::Function'), options)) lambda.put(lambdaFunction);
  for (const resource of all('AWS::StepFunctions::StateMachine')) {
    await callAws('states', 'CreateStateMachine', stateMachineInput(resource), admin);
  }
  for (const resource of all('AWS::Events::Rule')) {
    const rule = ruleOf(resource);
    if (rule !== undefined) events.putRule(rule);
  }
  for (const resource of all('AWS::Scheduler::Schedule')) {
    const schedule = scheduleOf(resource);
    if (schedule !== undefined) events.putSchedule(schedule);
  }
  for (const resource of all('AWS::Lambda::EventSourceMapping')) {
    const mapping = eventSourceMapping(resource);
    const source = createEventSource(mapping, {
      ...options,
      invoke: options.deliver,
      sendOnFailure: (arn, message) => callAws(...failureCall(arn, message), lambda.callerOf(mapping.functionName)),
    });
    dynamodb.onStreamRecord(mapping.tableName, source.push);
  }
}

function documentContent(resource: Resource): Json {
  const properties = knownProperties(resource, [
    'Content',
    'DocumentFormat',
    'DocumentType',
    'Name',
    'Tags',
    'TargetType',
    'UpdateMethod',
  ]);
  const { Content, DocumentFormat: format = 'JSON', DocumentType: type = 'Command' } = properties;
  if (format !== 'JSON' || type !== 'Command') {
    throw new Error(`The embedded AWS runs Command documents in JSON only (resource ${resource.logicalId}).`);
  }
  return Content ?? {};
}

/** How word of failed records reaches a destination, which is a queue or a topic. */
function failureCall(arn: string, message: JsonObject): [service: string, operation: string, input: JsonObject] {
  const text = JSON.stringify(message);
  if (arn.startsWith('arn:aws:sns:')) return ['sns', 'Publish', { TopicArn: arn, Message: text }];
  return ['sqs', 'SendMessage', { QueueUrl: queueUrl(arn), MessageBody: text }];
}
