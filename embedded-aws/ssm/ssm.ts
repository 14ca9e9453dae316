import type { Clock } from '../../common/clock.ts';
import {
  AwsError,
  type Json,
  type JsonObject,
  notImplemented,
  type RequiredPermission,
  type Service,
} from '../core/service.ts';
import type { BusEvent } from '../events/event-bridge.ts';
import { type Command, describeCommand, describeInvocation, describeResult } from './command.ts';
import { type CommandDocument, checkParameters, readDocument, renderScript } from './document.ts';
import { nodeArn } from './events.ts';
import { createLifecycle } from './lifecycle.ts';
import { ManagedNode, type NodeExecutor } from './node.ts';

export interface SsmOptions {
  clock: Clock;
  uuid: () => string;
  region: string;
  account: string;
  emit: (event: BusEvent) => void;
  /** Kills what runs, and ends waiting. */
  signal: AbortSignal;
}

export interface Ssm extends Service {
  /** Takes a Command document; what it holds beyond what is run here fails by name. */
  putDocument(name: string, content: Json): void;
  registerNode(nodeId: string, executor: NodeExecutor): void;
  /** Whether a node receives commands. Commands that it runs continue either way. */
  setNodeOnline(nodeId: string, online: boolean): void;
}

const DEFAULT_TIMEOUT_SECONDS = 3_600;
const MAX_INSTANCES = 50;

/** Systems Manager: managed nodes, and Run Command on them. */
export function createSsm(options: SsmOptions): Ssm {
  const { clock, region, account } = options;
  const lifecycle = createLifecycle(options);
  const documents = new Map<string, CommandDocument>();
  const nodes = new Map<string, ManagedNode>();
  const commands = new Map<string, Command>();

  function send(input: JsonObject): JsonObject {
    if (input.Targets !== undefined) throw notImplemented('ssm:SendCommand with Targets; name InstanceIds');
    const document = documents.get(documentName(input));
    if (document === undefined)
      throw new AwsError('InvalidDocument', `Document ${documentName(input)} does not exist.`);
    const nodeIds = (input.InstanceIds ?? []) as string[];
    if (nodeIds.length === 0 || nodeIds.length > MAX_INSTANCES) {
      throw new AwsError('ValidationException', `InstanceIds must have 1 to ${MAX_INSTANCES} members.`);
    }
    if (new Set(nodeIds).size < nodeIds.length)
      throw new AwsError('DuplicateInstanceId', 'InstanceIds names a node twice.');
    const strangers = nodeIds.filter((id) => !nodes.has(id));
    if (strangers.length > 0) {
      const message = `Instances [[${strangers.join(', ')}]] not in a valid state for account ${account}`;
      throw new AwsError('InvalidInstanceId', message);
    }
    const timeoutSeconds = Number(input.TimeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS);
    if (timeoutSeconds < 30 || timeoutSeconds > 2_592_000) {
      throw new AwsError('ValidationException', 'TimeoutSeconds must be 30 to 2592000.');
    }
    const parameters = checkParameters(document, (input.Parameters ?? {}) as JsonObject);
    const command: Command = {
      id: options.uuid(),
      document,
      parameters,
      comment: String(input.Comment ?? ''),
      requestedAt: clock.now(),
      timeoutSeconds,
      rendered: renderScript(document, parameters),
      invocations: nodeIds.map((nodeId) => ({
        nodeId,
        status: 'Pending',
        statusDetails: 'Pending',
        begun: new AbortController(),
        cancelled: new AbortController(),
      })),
    };
    commands.set(command.id, command);
    for (const invocation of command.invocations) {
      lifecycle.start(command, invocation, nodes.get(invocation.nodeId) as ManagedNode);
    }
    return { Command: describeCommand(command) };
  }

  function cancel(input: JsonObject): JsonObject {
    const command = commands.get(String(input.CommandId));
    if (command === undefined)
      throw new AwsError('InvalidCommandId', `Command ${String(input.CommandId)} does not exist.`);
    const chosen = input.InstanceIds as string[] | undefined;
    for (const invocation of command.invocations) {
      if (chosen === undefined || chosen.includes(invocation.nodeId)) lifecycle.cancel(command, invocation);
    }
    return {};
  }

  function find(commandId: Json | undefined, nodeId: Json | undefined) {
    const command = commands.get(String(commandId));
    const invocation = command?.invocations.find((each) => each.nodeId === nodeId);
    if (command === undefined || invocation === undefined) {
      throw new AwsError(
        'InvocationDoesNotExist',
        `There is no invocation of ${String(commandId)} on ${String(nodeId)}.`,
      );
    }
    return { command, invocation };
  }

  const selected = (input: JsonObject): Command[] => {
    if (input.Filters !== undefined) throw notImplemented('ssm:ListCommands and ListCommandInvocations with Filters');
    const { CommandId: id, InstanceId: nodeId } = input;
    return [...commands.values()].filter(
      (command) =>
        (id === undefined || command.id === id) &&
        (nodeId === undefined || command.invocations.some((each) => each.nodeId === nodeId)),
    );
  };

  const operations: Record<string, (input: JsonObject) => JsonObject> = {
    SendCommand: send,
    CancelCommand: cancel,
    GetCommandInvocation(input) {
      const { command, invocation } = find(input.CommandId, input.InstanceId);
      return describeResult(command, invocation);
    },
    ListCommands: (input) => ({ Commands: selected(input).map(describeCommand) }),
    ListCommandInvocations: (input) => ({
      CommandInvocations: selected(input).flatMap((command) =>
        command.invocations
          .filter((each) => input.InstanceId === undefined || each.nodeId === input.InstanceId)
          .map((each) => describeInvocation(command, each)),
      ),
    }),
    DescribeInstanceInformation: () => ({
      InstanceInformationList: [...nodes.values()].map((node) => ({
        InstanceId: node.id,
        PingStatus: node.online ? 'Online' : 'ConnectionLost',
        PlatformType: 'Linux',
        ResourceType: node.id.startsWith('mi-') ? 'ManagedInstance' : 'EC2Instance',
      })),
    }),
  };

  function requiredPermissions(operation: string, input: JsonObject): RequiredPermission[] {
    if (!Object.hasOwn(operations, operation)) throw notImplemented(`ssm:${operation}`);
    const action = `ssm:${operation}`;
    if (operation !== 'SendCommand') return [{ action, resource: '*' }];
    const document = `arn:aws:ssm:${region}:${account}:document/${documentName(input)}`;
    const targets = ((input.InstanceIds ?? []) as string[]).map((id) => nodeArn(id, { region, account }));
    return [document, ...targets].map((resource) => ({ action, resource }));
  }

  return {
    putDocument: (name, content) => void documents.set(name, readDocument(name, content)),
    registerNode: (nodeId, executor) => void nodes.set(nodeId, new ManagedNode(nodeId, executor)),
    setNodeOnline(nodeId, online) {
      const node = nodes.get(nodeId);
      if (node === undefined) throw new Error(`No managed node ${nodeId} is registered.`);
      node.online = online;
    },
    requiredPermissions,
    call: async (operation, input) => (operations[operation] as (input: JsonObject) => JsonObject)(input),
  };
}

/** SendCommand takes a document's name or its ARN. */
const documentName = (input: JsonObject) =>
  String(input.DocumentName).replace(/^arn:aws:ssm:[^:]*:[^:]*:document\//, '');
