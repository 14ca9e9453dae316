import type { Json, JsonObject } from '../../core/service.ts';
import { isObject } from '../diagnostics/fields.ts';
import { callNaming, camelCase, pascalCase, renameKeys, type TaskRequest } from './integration.ts';

interface SdkService {
  /** The service's name in CallAws, which is its endpoint's. */
  readonly endpoint: string;
  /** The Java SDK's name, which error names begin with. */
  readonly prefix: string;
  /** Whether the API's members are camelCase; a Task's arguments and results are PascalCase always. */
  readonly camelCase?: boolean;
  /** Result members that are timestamps: seconds in the API, ISO 8601 text in a Task's result. */
  readonly timestamps: readonly string[];
}

/** The services that exist in the embedded AWS, by their names in `aws-sdk:<service>:<action>`. */
export const awsSdkServices = {
  dynamodb: { endpoint: 'dynamodb', prefix: 'DynamoDb', timestamps: ['CreationDateTime'] },
  eventbridge: { endpoint: 'events', prefix: 'EventBridge', timestamps: [] },
  lambda: { endpoint: 'lambda', prefix: 'Lambda', timestamps: [] },
  sfn: {
    endpoint: 'states',
    prefix: 'Sfn',
    camelCase: true,
    timestamps: ['StartDate', 'StopDate', 'CreationDate', 'UpdateDate', 'Timestamp'],
  },
  ssm: {
    endpoint: 'ssm',
    prefix: 'Ssm',
    timestamps: ['RequestedDateTime', 'ExpiresAfter', 'LastPingDateTime', 'RegistrationDate'],
  },
} satisfies Record<string, SdkService>;
export type AwsSdkService = keyof typeof awsSdkServices;

export function awsSdk(name: AwsSdkService, action: string) {
  const service: SdkService = awsSdkServices[name];
  const errors = { prefix: service.prefix, unmodelled: `${service.prefix}.${service.prefix}Exception` };
  return {
    async request(task: TaskRequest): Promise<Json> {
      const input = service.camelCase ? (renameKeys(task.arguments, camelCase) as JsonObject) : task.arguments;
      const answer = await callNaming(errors, task, service.endpoint, pascalCase(action), input);
      const result = service.camelCase ? renameKeys(answer, pascalCase) : answer;
      return service.timestamps.length === 0 ? result : withIsoDates(result, service.timestamps);
    },
  };
}

function withIsoDates(value: Json, members: readonly string[]): Json {
  if (Array.isArray(value)) return value.map((item) => withIsoDates(item, members));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      typeof item === 'number' && members.includes(key)
        ? new Date(item * 1_000).toISOString()
        : withIsoDates(item, members),
    ]),
  );
}
