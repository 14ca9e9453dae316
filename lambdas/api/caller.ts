import type { APIGatewayProxyEventV2 } from 'aws-lambda';

/** Who calls, as IAM knows them. */
export function callerOf({ requestContext }: APIGatewayProxyEventV2): string {
  const { authorizer } = requestContext as { authorizer?: { iam?: { userArn?: string } } };
  return authorizer?.iam?.userArn ?? 'somebody unknown';
}
