import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import { type SimulatedNode, type SimulatedNodeOptions, simulatedNode } from './node.ts';

/** SIMULATED: a host of the fleet as SSM and Handoff know it. */
export interface ManagedHost {
  nodeId: string;
  node: SimulatedNode;
  /** The partition of the Mailbox table that is the host's own. */
  mailbox: string;
  /** With the host's own credentials: what it may do, this may do. */
  dynamo: DynamoDBDocumentClient;
  /** The body to register it with: `PUT /hosts/{hostId}`. */
  registration: { nodeId: string; address: string; libvirtUri: string };
}

/** SIMULATED: makes a host of the fleet a managed node of the embedded AWS. It still has to be registered with Handoff. */
export function manage(
  aws: EmbeddedAws,
  fleet: SimulatedFleet,
  hostId: string,
  options: Pick<SimulatedNodeOptions, 'watch' | 'ran' | 'alter'> = {},
): ManagedHost {
  const number = fleet.hosts().findIndex(({ spec }) => spec.hostId === hostId) + 1;
  const { address, libvirtUri } = fleet.host(hostId).spec;
  const nodeId = `mi-${String(number).padStart(17, '0')}`;
  const node = simulatedNode(fleet, hostId, { ...options, clock: fleet.clock, dynamo: () => dynamo });
  const { credentials, mailboxUserId } = aws.registerNode(nodeId, node);
  const client = DynamoDBDocumentClient.from(new DynamoDBClient(aws.inProcess(credentials)), {
    marshallOptions: { removeUndefinedValues: true },
  });
  const dynamo = aws.answering(client, credentials);
  return { nodeId, node, mailbox: mailboxUserId, dynamo, registration: { nodeId, address, libvirtUri } };
}
