import type { BusEvent } from '../events/event-bridge.ts';
import { type Command, type CommandInvocation, type CommandStatus, commandStatus, expiresAt } from './command.ts';

interface Place {
  region: string;
  account: string;
}

/** The ARN of a managed node: an on-prem machine (`mi-`) is SSM's own, an instance (`i-`) EC2's. */
export const nodeArn = (nodeId: string, { region, account }: Place) =>
  nodeId.startsWith('mi-')
    ? `arn:aws:ssm:${region}:${account}:managed-instance/${nodeId}`
    : `arn:aws:ec2:${region}:${account}:instance/${nodeId}`;

// The events say "Canceled" where the API says "Cancelled".
const eventStatus = (status: CommandStatus) => (status === 'Cancelled' ? 'Canceled' : status);
const iso = (ms: number) => new Date(ms).toISOString();

export const invocationEvent = (command: Command, invocation: CommandInvocation, place: Place): BusEvent => ({
  source: 'aws.ssm',
  detailType: 'EC2 Command Invocation Status-change Notification',
  resources: [nodeArn(invocation.nodeId, place)],
  detail: {
    'command-id': command.id,
    'document-name': command.document.name,
    'instance-id': invocation.nodeId,
    'requested-date-time': iso(command.requestedAt),
    status: eventStatus(invocation.status),
  },
});

/** It carries the parameters in clear, as the real one does. */
export const commandEvent = (command: Command, place: Place): BusEvent => ({
  source: 'aws.ssm',
  detailType: 'EC2 Command Status-change Notification',
  resources: command.invocations.map(({ nodeId }) => nodeArn(nodeId, place)),
  detail: {
    'command-id': command.id,
    'document-name': command.document.name,
    'expire-after': iso(expiresAt(command)),
    parameters: command.parameters,
    'requested-date-time': iso(command.requestedAt),
    status: eventStatus(commandStatus(command)),
  },
});
