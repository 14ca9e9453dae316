import { type AwsSdkService, awsSdk, awsSdkServices } from './aws-sdk.ts';
import { dynamoDb } from './dynamodb.ts';
import { putEvents } from './events.ts';
import type { Integration } from './integration.ts';
import { invokeFunction } from './lambda.ts';
import { startExecution, startExecutionSync } from './nested-executions.ts';

type Action = Pick<Integration, 'request' | 'complete'>;

const CALLBACK = '.waitForTaskToken';

/** The optimized integrations, as `<service>:<action>`; those in `CALLBACKS` also take `.waitForTaskToken`. */
const OPTIMIZED = new Map<string, Action>([
  ['lambda:invoke', invokeFunction],
  ['dynamodb:getItem', dynamoDb('GetItem')],
  ['dynamodb:putItem', dynamoDb('PutItem')],
  ['dynamodb:updateItem', dynamoDb('UpdateItem')],
  ['dynamodb:deleteItem', dynamoDb('DeleteItem')],
  ['events:putEvents', putEvents],
  ['states:startExecution', startExecution],
  ['states:startExecution.sync', startExecutionSync({ parsed: false })],
  ['states:startExecution.sync:2', startExecutionSync({ parsed: true })],
]);
const CALLBACKS = new Set(['lambda:invoke', 'events:putEvents', 'states:startExecution']);

/** The integration a Task's Resource names, or the reason why there is none. */
export function integrationFor(resource: string): Integration | string {
  const [, name] = /^arn:aws[a-z-]*:states:::(.+)$/.exec(resource) ?? [];
  if (name === undefined) return `the resource "${resource}" is not supported; ${supported()}`;
  const waitsForToken = name.endsWith(CALLBACK);
  const action = waitsForToken ? name.slice(0, -CALLBACK.length) : name;
  const found = name.startsWith('aws-sdk:') ? awsSdkAction(action) : OPTIMIZED.get(action);
  if (found === undefined || (waitsForToken && !name.startsWith('aws-sdk:') && !CALLBACKS.has(action))) {
    return `the resource "${resource}" is not supported; ${supported()}`;
  }
  const colon = name.indexOf(':', name.startsWith('aws-sdk:') ? 'aws-sdk:'.length : 0);
  return { ...found, waitsForToken, resourceType: name.slice(0, colon), resource: name.slice(colon + 1) };
}

function awsSdkAction(name: string): Action | undefined {
  const [, service, action] = /^aws-sdk:([a-z]+):([a-z][A-Za-z0-9]*)$/.exec(name) ?? [];
  return service !== undefined && service in awsSdkServices ? awsSdk(service as AwsSdkService, action!) : undefined;
}

function supported(): string {
  const services = Object.keys(awsSdkServices).join(', ');
  const actions = [...OPTIMIZED.keys()].map((name) => (CALLBACKS.has(name) ? `${name}[${CALLBACK}]` : name));
  return `supported are arn:aws:states:::{${actions.join(', ')}} and aws-sdk:{${services}}:<action>[${CALLBACK}]`;
}
