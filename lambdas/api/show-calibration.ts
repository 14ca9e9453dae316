import { QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { z } from 'zod';
import { calibrationOf, missOf } from '../migrations/forecast-calibration.ts';
import { getRecords, resultOf } from '../migrations/migration-record.ts';
import { migrationIdOf } from '../platform/control-keys.ts';
import { CONTROL } from '../platform/control-table.ts';
import { parse } from '../platform/parse.ts';
import { dynamo } from '../platform/runtime.ts';
import { json } from './problem.ts';

/** As many as one read of records takes. */
const Query = z.strictObject({ last: z.coerce.number().int().min(1).max(100).default(100) });

/** Compares the forecasts of the last migrations that succeeded with their results. */
export async function showCalibration(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const { last } = parse(Query, event.queryStringParameters ?? {}, 'query');
  const { Items } = await dynamo.send(
    new QueryCommand({
      TableName: CONTROL,
      IndexName: 'byStatus',
      KeyConditionExpression: '#status = :succeeded',
      ExpressionAttributeNames: { '#status': 'status' },
      ExpressionAttributeValues: { ':succeeded': 'SUCCEEDED' },
      ScanIndexForward: false,
      Limit: last,
    }),
  );
  const records = await getRecords((Items ?? []).map(({ pk }) => migrationIdOf(String(pk))));
  const misses = records.flatMap((record) => missOf({ ...record, result: resultOf(record) }) ?? []);
  return json(200, calibrationOf(misses));
}
