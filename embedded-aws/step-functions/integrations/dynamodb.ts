import type { Json } from '../../core/service.ts';
import { callNaming, type TaskRequest } from './integration.ts';

// The optimized integration says DynamoDB and still speaks the Java SDK's first version; the SDK integration says DynamoDb.
const ERRORS = { prefix: 'DynamoDB', unmodelled: 'DynamoDB.AmazonDynamoDBException' };

/** `dynamodb:getItem` and its like: arguments and results are the API's own. */
export function dynamoDb(operation: 'GetItem' | 'PutItem' | 'UpdateItem' | 'DeleteItem') {
  return {
    request: (task: TaskRequest): Promise<Json> => callNaming(ERRORS, task, 'dynamodb', operation, task.arguments),
  };
}
