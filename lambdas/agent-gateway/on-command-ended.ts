import type { EventBridgeEvent } from 'aws-lambda';
import { z } from 'zod';
import { parseRequestId } from '../../contract/names.ts';
import { count, lambda } from '../platform/function.ts';
import { logger } from '../platform/log.ts';
import { failTask, getRequest } from './task-answer.ts';

const Detail = z.object({
  'command-id': z.string(),
  status: z.string(),
  /** A JSON string in older events, an object in newer ones. */
  parameters: z.union([z.string(), z.record(z.string(), z.unknown())]),
});

/**
 * Receives the events of commands that failed, and fails their request early. These events are best effort: a request
 * whose event is never delivered ends by its heartbeat or time limit. A command that succeeded proves nothing: the agent's report does.
 */
export const handler = lambda(async (event: EventBridgeEvent<string, unknown>) => {
  const parsed = Detail.safeParse(event.detail);
  const requestId = parsed.success ? requestIdIn(parsed.data.parameters) : undefined;
  if (!parsed.success || requestId === undefined) {
    logger.warn('Not an event of a command of Handoff', { detail: event.detail });
    return;
  }
  const { status, 'command-id': commandId } = parsed.data;
  const request = await getRequest(parseRequestId(requestId)!.migrationId, requestId);
  if (request === undefined || !request.open) return;
  count('CommandFailed', { status });
  const { migrationId, hostId } = request;
  logger.warn('A command failed', { migrationId, requestId, hostId, status, commandId });
  await failTask(request, {
    code: 'CommandFailed',
    message:
      `SSM could not run the ${request.stage} command on ${request.hostId} (node ${request.nodeId}): ${status}. ` +
      `See command ${commandId} in Run Command's history; is the SSM agent running, and handoff-agent installed?`,
  });
});

function requestIdIn(parameters: string | Record<string, unknown>): string | undefined {
  const object = typeof parameters === 'string' ? (JSON.parse(parameters) as Record<string, unknown>) : parameters;
  const value = Array.isArray(object.requestId) ? object.requestId[0] : object.requestId;
  return typeof value === 'string' && parseRequestId(value) !== undefined ? value : undefined;
}
