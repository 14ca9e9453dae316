import { SendTaskFailureCommand, SendTaskHeartbeatCommand, SendTaskSuccessCommand } from '@aws-sdk/client-sfn';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Failure, Report } from '../../contract/reports.ts';
import { requestKey } from '../platform/control-keys.ts';
import { CONTROL, type RequestItem } from '../platform/control-table.ts';
import { getItem } from '../platform/dynamo.ts';
import { dynamo, sfn } from '../platform/runtime.ts';

/**
 * Answers a state machine's task with a host's report. The token is answered first and the request closed afterwards, so that a
 * crash in between leads to a second, harmless answer and never to none. A token that is no longer waited for (timed out,
 * answered before, execution stopped) is not an error. If the request has a newer token by then, that one is answered.
 */
export async function answerTask(request: RequestItem, report: Report): Promise<void> {
  const sent = await send(request.taskToken, report);
  if (!sent) {
    const current = await getRequest(request.migrationId, request.requestId);
    if (current !== undefined && current.taskToken !== request.taskToken) return answerTask(current, report);
  }
  if (report.kind !== 'progress') await close(request);
}

export const getRequest = (migrationId: string, requestId: string): Promise<RequestItem | undefined> =>
  getItem(CONTROL, requestKey(migrationId, requestId));

export async function failTask(request: RequestItem, failure: Failure): Promise<void> {
  const { taskToken } = request;
  if (taskToken !== undefined) await ignoringDeadTokens(() => sendFailure(taskToken, failure));
  await close(request);
}

function send(taskToken: string | undefined, report: Report): Promise<boolean> {
  return ignoringDeadTokens(async () => {
    if (taskToken === undefined) return;
    switch (report.kind) {
      case 'progress':
        await sfn.send(new SendTaskHeartbeatCommand({ taskToken }));
        return;
      case 'succeeded':
        await sfn.send(new SendTaskSuccessCommand({ taskToken, output: JSON.stringify(report.result) }));
        return;
      case 'failed':
        await sendFailure(taskToken, report.failure);
    }
  });
}

async function sendFailure(taskToken: string, { code, message }: Failure): Promise<void> {
  // The service takes at most 256 and 32,768 characters.
  await sfn.send(new SendTaskFailureCommand({ taskToken, error: code.slice(0, 256), cause: message.slice(0, 32_000) }));
}

/** Whether the token was still waited for. */
async function ignoringDeadTokens(call: () => Promise<void>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (error instanceof Error && ['TaskTimedOut', 'TaskDoesNotExist', 'InvalidToken'].includes(error.name))
      return false;
    throw error;
  }
}

async function close(request: RequestItem): Promise<void> {
  await dynamo.send(
    new UpdateCommand({
      TableName: CONTROL,
      Key: requestKey(request.migrationId, request.requestId),
      UpdateExpression: 'SET #open = :no',
      ExpressionAttributeNames: { '#open': 'open' },
      ExpressionAttributeValues: { ':no': false },
    }),
  );
}
