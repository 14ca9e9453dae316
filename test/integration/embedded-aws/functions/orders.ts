import { DynamoDBClient, GetItemCommand, PutItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { SendTaskFailureCommand, SendTaskSuccessCommand, SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import type { APIGatewayProxyEventV2, DynamoDBStreamEvent, EventBridgeEvent } from 'aws-lambda';

const { client } = (globalThis as unknown as Record<symbol, { client: Record<string, unknown> }>)[
  Symbol.for('embedded-aws.runtime')
] as { client: Record<string, unknown> };
const dynamodb = new DynamoDBClient({ ...client });
const sfn = new SFNClient({ ...client });
const ssm = new SSMClient({ ...client });

const { TABLE: TableName, MACHINE: stateMachineArn, DOCUMENT: DocumentName, HOST_ROLE_ID: hostRoleId } = process.env;

/** `POST /orders/{id}` starts an order on the node its body names; `GET /orders/{id}` shows the order's report. */
export async function api(event: APIGatewayProxyEventV2) {
  const id = event.pathParameters?.id as string;
  if (event.requestContext.http.method === 'POST') {
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name: id, input: event.body }));
    return { statusCode: 202 };
  }
  const { Item } = await dynamodb.send(new GetItemCommand({ TableName, Key: { pk: { S: 'tokens' }, sk: { S: id } } }));
  return { token: Item?.token?.S };
}

/** Keeps the task token and has the node work. */
export async function dispatch({ id, node, token }: { id: string; node: string; token: string }) {
  const Item = { pk: { S: 'tokens' }, sk: { S: id }, token: { S: token } };
  await dynamodb.send(new PutItemCommand({ TableName, Item }));
  await ssm.send(new SendCommandCommand({ DocumentName, InstanceIds: [node], Parameters: { requestId: [id] } }));
}

const tokenOf = async (id: string) => {
  const { Item } = await dynamodb.send(new GetItemCommand({ TableName, Key: { pk: { S: 'tokens' }, sk: { S: id } } }));
  return Item?.token?.S;
};

/** Answers the task a node reported on. */
export async function relay(event: DynamoDBStreamEvent) {
  for (const { dynamodb: change } of event.Records) {
    if (!change?.Keys?.pk?.S?.startsWith(`${hostRoleId}:`)) throw new Error('That is no report.');
    const id = change.Keys.sk?.S?.slice('REPORT#'.length) as string;
    const output = change.NewImage?.result?.S as string;
    await sfn.send(new SendTaskSuccessCommand({ taskToken: await tokenOf(id), output }));
  }
}

/** Fails the task whose command could not run. */
export async function watch(event: EventBridgeEvent<string, { status: string; parameters: { requestId: string[] } }>) {
  const [id = ''] = event.detail.parameters.requestId;
  const failure = { error: 'CommandFailed', cause: event.detail.status };
  await sfn.send(new SendTaskFailureCommand({ taskToken: await tokenOf(id), ...failure }));
}

/** Wants what its role does not allow. */
export async function intruder() {
  await dynamodb.send(
    new UpdateItemCommand({ TableName, Key: { pk: { S: 'tokens' }, sk: { S: 'x' } }, UpdateExpression: 'REMOVE y' }),
  );
}
