import type { Json, JsonObject } from '../core/service.ts';
import { loadHandler, localEnvironment, mergeEnvironments } from '../lambda/bundle.ts';
import type { EventSourceMapping } from '../lambda/event-source.ts';
import { provideRuntime } from '../lambda/invocation.ts';
import type { LambdaFunction } from '../lambda/lambda.ts';
import { knownProperties, type Resource } from '../template/template.ts';

const FUNCTION = [
  'Architectures',
  'Code',
  'Description',
  'Environment',
  'FunctionName',
  'Handler',
  'LoggingConfig',
  'MemorySize',
  'Role',
  'Runtime',
  'Tags',
  'Timeout',
  'TracingConfig',
];

/** Sets the process's environment for all functions of the template, then loads their bundles from their assets. */
export async function loadFunctions(
  resources: readonly Resource[],
  { assets, region, logLevel }: { assets: ReadonlyMap<string, string>; region: string; logLevel: string },
): Promise<LambdaFunction[]> {
  const declared = resources.map((resource) => ({ resource, properties: knownProperties(resource, FUNCTION) }));
  const environments = declared.map(({ resource, properties }) => ({
    name: resource.ref,
    environment: ((properties.Environment as JsonObject | undefined)?.Variables ?? {}) as Record<string, string>,
  }));
  Object.assign(process.env, mergeEnvironments(environments, localEnvironment(region, logLevel)));
  provideRuntime(region);

  const functions: LambdaFunction[] = [];
  for (const { resource, properties } of declared) {
    const key = String((properties.Code as JsonObject).S3Key);
    const folder = assets.get(key);
    if (folder === undefined) throw new Error(`The assembly has no asset ${key} (resource ${resource.logicalId}).`);
    functions.push({
      name: resource.ref,
      arn: resource.attributes.Arn as string,
      roleArn: String(properties.Role),
      timeoutSeconds: Number(properties.Timeout ?? 3),
      memoryMiB: Number(properties.MemorySize ?? 128),
      handler: await loadHandler(folder, String(properties.Handler)),
    });
  }
  return functions;
}

const EVENT_SOURCE_MAPPING = [
  'BatchSize',
  'BisectBatchOnFunctionError',
  'DestinationConfig',
  'Enabled',
  'EventSourceArn',
  'FilterCriteria',
  'FunctionName',
  'FunctionResponseTypes',
  'MaximumBatchingWindowInSeconds',
  'MaximumRecordAgeInSeconds',
  'MaximumRetryAttempts',
  'ParallelizationFactor',
  'StartingPosition',
  'Tags',
];

export function eventSourceMapping(resource: Resource): EventSourceMapping & { tableName: string } {
  const properties = knownProperties(resource, EVENT_SOURCE_MAPPING);
  const streamArn = String(properties.EventSourceArn);
  const tableName = /^arn:aws:dynamodb:[^:]*:[^:]*:table\/([^/]+)\/stream\//.exec(streamArn)?.[1];
  if (tableName === undefined || properties.Enabled === false) {
    throw new Error(
      `The embedded AWS maps enabled DynamoDB streams only (resource ${resource.logicalId}: ${streamArn}).`,
    );
  }
  const filters = ((properties.FilterCriteria as JsonObject | undefined)?.Filters ?? []) as JsonObject[];
  const onFailure = (properties.DestinationConfig as { OnFailure?: { Destination?: string } } | undefined)?.OnFailure;
  return {
    functionName: String(properties.FunctionName),
    streamArn,
    tableName,
    batchSize: Number(properties.BatchSize ?? 100),
    batchingWindowSeconds: Number(properties.MaximumBatchingWindowInSeconds ?? 0),
    parallelizationFactor: Number(properties.ParallelizationFactor ?? 1),
    maximumRetryAttempts: Number(properties.MaximumRetryAttempts ?? -1),
    maximumRecordAgeSeconds: Number(properties.MaximumRecordAgeInSeconds ?? -1),
    bisectBatchOnFunctionError: properties.BisectBatchOnFunctionError === true,
    reportBatchItemFailures: ((properties.FunctionResponseTypes ?? []) as string[]).includes('ReportBatchItemFailures'),
    filters: filters.map(({ Pattern }) => JSON.parse(String(Pattern)) as Json),
    onFailureArn: onFailure?.Destination,
  };
}
