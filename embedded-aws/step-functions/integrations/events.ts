import type { Json } from '../../core/service.ts';
import { StateFailure } from '../common/failures.ts';
import { isObject } from '../diagnostics/fields.ts';
import { callNaming, type TaskRequest } from './integration.ts';

const ERRORS = { prefix: 'EventBridge', unmodelled: 'EventBridge.AmazonEventBridgeException' };

/** `events:putEvents`: a detail may be JSON, and every event says which execution it came from. */
export const putEvents = {
  async request(task: TaskRequest): Promise<Json> {
    const { Entries: entries = [], ...rest } = task.arguments;
    const sent = Array.isArray(entries) ? entries.map((entry) => prepared(entry, task)) : entries;
    const answer = await callNaming(ERRORS, task, 'events', 'PutEvents', { ...rest, Entries: sent });
    if (Number(answer.FailedEntryCount ?? 0) > 0)
      throw new StateFailure('EventBridge.FailedEntry', JSON.stringify(answer));
    return answer;
  },
};

function prepared(entry: Json, { executionArn, stateMachineArn }: TaskRequest): Json {
  if (!isObject(entry)) return entry;
  const resources = Array.isArray(entry.Resources) ? entry.Resources : [];
  const detail = typeof entry.Detail === 'string' ? entry.Detail : JSON.stringify(entry.Detail ?? {});
  return { ...entry, Detail: detail, Resources: [...resources, executionArn, stateMachineArn] };
}
