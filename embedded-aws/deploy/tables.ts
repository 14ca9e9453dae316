import type { JsonObject } from '../core/service.ts';
import { knownProperties, type Resource } from '../template/template.ts';

const PROPERTIES = [
  'AttributeDefinitions',
  'BillingMode',
  'ContributorInsightsSpecification',
  'DeletionProtectionEnabled',
  'GlobalSecondaryIndexes',
  'KeySchema',
  'PointInTimeRecoverySpecification',
  'ProvisionedThroughput',
  'Replicas',
  'SSESpecification',
  'StreamSpecification',
  'TableName',
  'Tags',
  'TimeToLiveSpecification',
];

/** The calls that make a table of the template: CreateTable, and UpdateTimeToLive where it has one. Capacity is not limited. */
export function tableCalls(resource: Resource): { create: JsonObject; timeToLive?: JsonObject } {
  const properties = knownProperties(resource, PROPERTIES);
  const { StreamSpecification: stream, TimeToLiveSpecification: timeToLive } = properties;
  const replicas = (properties.Replicas ?? []) as JsonObject[];
  if (replicas.length > 1)
    throw new Error(`The embedded AWS has one region; ${resource.logicalId} has ${replicas.length} replicas.`);
  const indexes = ((properties.GlobalSecondaryIndexes ?? []) as JsonObject[]).map(
    ({ IndexName, KeySchema, Projection }) => ({
      IndexName: IndexName as string,
      KeySchema: KeySchema as JsonObject[],
      Projection: Projection as JsonObject,
    }),
  );
  const create: JsonObject = {
    TableName: resource.ref,
    AttributeDefinitions: properties.AttributeDefinitions ?? [],
    KeySchema: properties.KeySchema ?? [],
    BillingMode: 'PAY_PER_REQUEST',
    ...(indexes.length === 0 ? {} : { GlobalSecondaryIndexes: indexes }),
    ...(stream === undefined ? {} : { StreamSpecification: { ...(stream as JsonObject), StreamEnabled: true } }),
  };
  if (timeToLive === undefined) return { create };
  return { create, timeToLive: { TableName: resource.ref, TimeToLiveSpecification: timeToLive } };
}
