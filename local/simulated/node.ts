import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { AgentDeps } from '../../agent/deps.ts';
import { EXIT, ExitError, readEnvironment } from '../../agent/environment.ts';
import { dynamoMailbox } from '../../agent/mailbox.ts';
import { runRequest } from '../../agent/run.ts';
import type { Clock } from '../../contract/clock.ts';
import type { NodeExecutor } from '../ssm/node.ts';
import { simulatedFacts } from './facts.ts';
import type { SimulatedFleet } from './fleet.ts';
import { SimulatedMovers } from './movers.ts';

export interface SimulatedNodeOptions {
  clock: Clock;
  /** A client with the node's own credentials, which it has only once it is registered: asked for at its first command. */
  dynamo(): DynamoDBDocumentClient;
  log?(message: string): void;
}

export interface SimulatedNode extends NodeExecutor {
  /** Kills every mover of the host, as its crash does. */
  killMovers(): void;
}

/**
 * SIMULATED: a managed node of the embedded SSM that runs the agent's own code, in this process, on a host of the fleet. A
 * command that SSM kills runs on to its end; only its outcome is no longer waited for.
 *
 * @example
 * const node = simulatedNode(fleet, 'kvm-a', { clock, dynamo: () => client });
 * const { credentials } = aws.registerNode('mi-00000000000000001', node);
 * const client = DynamoDBDocumentClient.from(new DynamoDBClient(aws.inProcess(credentials)));
 */
export function simulatedNode(fleet: SimulatedFleet, hostId: string, options: SimulatedNodeOptions): SimulatedNode {
  let surroundings: { deps: AgentDeps; movers: SimulatedMovers } | undefined;
  return {
    async run({ script, env }) {
      const all = { ...exportsOf(script), ...env };
      try {
        // The same for every command: movers outlive the one that started them.
        surroundings ??= surroundingsOf(fleet, hostId, all, options);
        const outcome = await runRequest(all.SSM_requestId ?? '', surroundings.deps);
        return { exitCode: EXIT.reported, stdout: `${outcome}\n`, stderr: '' };
      } catch (error) {
        if (!(error instanceof ExitError)) throw error;
        return { exitCode: error.exitCode, stdout: '', stderr: `${error.message}\n` };
      }
    },
    killMovers: () => surroundings?.movers.killAll(),
  };
}

function surroundingsOf(
  fleet: SimulatedFleet,
  hostId: string,
  env: Record<string, string>,
  { clock, dynamo, log = () => {} }: SimulatedNodeOptions,
): { deps: AgentDeps; movers: SimulatedMovers } {
  const { table, mailbox, localUri } = readEnvironment(env);
  const client = dynamo();
  const own = {
    clock,
    localUri,
    connect: (uri: string) => fleet.connect(hostId, uri),
    mailbox: dynamoMailbox({ client, commitClient: client, table, mailbox, clock }),
  };
  const movers = new SimulatedMovers({ ...own, log });
  return { deps: { ...own, facts: simulatedFacts(fleet, hostId), movers, hostId }, movers };
}

/** The literal `export NAME='value'` lines of the agent's SSM document. */
function exportsOf(script: string): Record<string, string> {
  const lines = script.matchAll(/^export (\w+)='([^']*)'$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}
