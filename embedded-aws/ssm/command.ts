import type { JsonObject } from '../core/service.ts';
import type { CommandDocument, ParameterValues, RenderedScript } from './document.ts';
import type { NodeOutput } from './node.ts';

export type CommandStatus = 'Pending' | 'InProgress' | 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';

/** One command on one node. */
export interface CommandInvocation {
  nodeId: string;
  status: CommandStatus;
  /** `DeliveryTimedOut`, `ExecutionTimedOut`, ... or the status again. */
  statusDetails: string;
  /** Milliseconds since the epoch. */
  startedAt?: number;
  endedAt?: number;
  output?: NodeOutput;
  /** Aborts when the node is not waited for any more: it has received the command, or must not run it. */
  begun: AbortController;
  /** Aborts when the command is not to run on: it is cancelled, or its time is up. */
  cancelled: AbortController;
}

export interface Command {
  id: string;
  document: CommandDocument;
  parameters: ParameterValues;
  comment: string;
  requestedAt: number;
  /** Seconds in which the command must have begun. */
  timeoutSeconds: number;
  rendered: RenderedScript;
  invocations: CommandInvocation[];
}

export const isOver = ({ status }: CommandInvocation) =>
  ['Success', 'Failed', 'TimedOut', 'Cancelled'].includes(status);

/** A command's own status: not over before all its invocations are; then the worst of theirs. */
export function commandStatus({ invocations }: Command): CommandStatus {
  if (!invocations.every(isOver))
    return invocations.every(({ status }) => status === 'Pending') ? 'Pending' : 'InProgress';
  const worst = (['Failed', 'TimedOut', 'Cancelled'] as const).find((status) =>
    invocations.some((each) => each.status === status),
  );
  return worst ?? 'Success';
}

/** When the last invocation must be over, ms since the epoch. */
export const expiresAt = (command: Command) =>
  command.requestedAt + (command.timeoutSeconds + command.rendered.timeoutSeconds) * 1_000;

const seconds = (ms: number) => ms / 1_000;
const iso = (ms: number | undefined) => (ms === undefined ? '' : new Date(ms).toISOString());

/** The API's `Command`. */
export function describeCommand(command: Command): JsonObject {
  const { invocations } = command;
  const status = commandStatus(command);
  return {
    CommandId: command.id,
    DocumentName: command.document.name,
    DocumentVersion: '1',
    Comment: command.comment,
    ExpiresAfter: seconds(expiresAt(command)),
    Parameters: command.parameters,
    InstanceIds: invocations.map(({ nodeId }) => nodeId),
    Targets: [],
    RequestedDateTime: seconds(command.requestedAt),
    Status: status,
    StatusDetails: status,
    MaxConcurrency: '50',
    MaxErrors: '0',
    TargetCount: invocations.length,
    CompletedCount: invocations.filter(isOver).length,
    ErrorCount: invocations.filter((each) => each.status === 'Failed').length,
    DeliveryTimedOutCount: invocations.filter((each) => each.statusDetails === 'DeliveryTimedOut').length,
    TimeoutSeconds: command.timeoutSeconds,
  };
}

/** One entry of ListCommandInvocations. */
export const describeInvocation = (command: Command, invocation: CommandInvocation): JsonObject => ({
  CommandId: command.id,
  InstanceId: invocation.nodeId,
  Comment: command.comment,
  DocumentName: command.document.name,
  DocumentVersion: '1',
  RequestedDateTime: seconds(command.requestedAt),
  Status: invocation.status,
  StatusDetails: invocation.statusDetails,
});

// What GetCommandInvocation gives of the output, in characters.
const STDOUT_LIMIT = 24_000;
const STDERR_LIMIT = 8_000;

/** The answer of GetCommandInvocation. There is no output before the end. */
export function describeResult(command: Command, invocation: CommandInvocation): JsonObject {
  const { output, startedAt, endedAt } = invocation;
  const elapsedMs = startedAt === undefined || endedAt === undefined ? undefined : endedAt - startedAt;
  return {
    CommandId: command.id,
    InstanceId: invocation.nodeId,
    Comment: command.comment,
    DocumentName: command.document.name,
    DocumentVersion: '1',
    PluginName: 'aws:runShellScript',
    ResponseCode: output?.exitCode ?? -1,
    ExecutionStartDateTime: iso(startedAt),
    ExecutionElapsedTime: elapsedMs === undefined ? '' : `PT${seconds(elapsedMs)}S`,
    ExecutionEndDateTime: iso(endedAt),
    Status: invocation.status,
    StatusDetails: invocation.statusDetails,
    StandardOutputContent: output?.stdout.slice(0, STDOUT_LIMIT) ?? '',
    StandardOutputUrl: '',
    StandardErrorContent: output?.stderr.slice(0, STDERR_LIMIT) ?? '',
    StandardErrorUrl: '',
  };
}
