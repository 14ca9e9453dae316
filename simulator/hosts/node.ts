import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { AgentDeps, Movers } from '../../agent/deps.ts';
import { EXIT, ExitError, readEnvironment } from '../../agent/environment.ts';
import type { HypervisorConnection } from '../../agent/hypervisor.ts';
import { type Log, silentLog } from '../../agent/log/log.ts';
import { dynamoMailbox, type Mailbox } from '../../agent/mailbox.ts';
import { type RunOutcome, runRequest } from '../../agent/run.ts';
import type { Clock } from '../../common/clock.ts';
import { parseRequestId } from '../../contract/names.ts';
import type { NodeExecutor, NodeOutput } from '../../embedded-aws/ssm/node.ts';
import { connect } from '../hypervisor/connection.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import { simulatedFacts } from './facts.ts';
import { SimulatedMovers } from './movers.ts';
import { SimulatedObservers } from './observers.ts';
import { SimulatedProcess, type WatchBoundaries } from './process.ts';

export interface SimulatedNodeOptions {
  clock: Clock;
  /** A client with the node's own credentials, which it has only once it is registered: asked for at its first command. */
  dynamo(): DynamoDBDocumentClient;
  log?: Log;
  /** Sees every call the host's processes make to their surroundings. */
  watch?: WatchBoundaries;
  /** Called with the outcome of each run of the agent that was not killed. */
  ran?(requestId: string, outcome: RunOutcome): void;
  /** Puts something in place of what the agent and the movers use, such as a fault of their own. */
  alter?: Partial<Alterations>;
}

export interface Alterations {
  mailbox(mailbox: Mailbox): Mailbox;
  connection(connection: HypervisorConnection): HypervisorConnection;
  movers(movers: Movers): Movers;
}

export interface SimulatedNode extends NodeExecutor {
  /** Kills every mover of the host, as its crash does. */
  killMovers(): void;
  /** Kills one process of the host, an agent's or a mover's. */
  kill(process: SimulatedProcess): void;
  /** Kills them all. */
  killAll(): void;
}

/**
 * SIMULATED: a managed node of the embedded SSM that runs the agent's own code, in this process, on a host of the fleet.
 *
 * @example
 * const node = simulatedNode(fleet, 'kvm-a', { clock, dynamo: () => client });
 * const { credentials } = aws.registerNode('mi-00000000000000001', node);
 * const client = DynamoDBDocumentClient.from(new DynamoDBClient(aws.inProcess(credentials)));
 */
export function simulatedNode(fleet: SimulatedFleet, hostId: string, options: SimulatedNodeOptions): SimulatedNode {
  let host: Runtime | undefined;
  const agents = new Set<SimulatedProcess>();
  return {
    async run({ script, env }, signal) {
      const all = { ...exportsOf(script), ...env };
      const requestId = all.SSM_requestId ?? '';
      const process = new SimulatedProcess(
        'agent',
        hostId,
        parseRequestId(requestId)!.migrationId,
        options.clock,
        options.watch,
      );
      signal.addEventListener('abort', () => process.kill(), { once: true });
      // On a host without power nothing begins.
      if (signal.aborted || !fleet.host(hostId).reachable) process.kill();
      agents.add(process);
      return outcomeOf(async () => {
        // The same for every command: movers outlive the one that started them.
        host ??= runtimeOf(fleet, hostId, all, options);
        const outcome = await runRequest(requestId, depsOf(host, process));
        options.ran?.(requestId, outcome);
        return outcome;
      }).finally(() => agents.delete(process));
    },
    killAll() {
      host?.movers.killAll();
      host?.observers.killAll();
      for (const process of agents) process.kill();
      agents.clear();
    },
    killMovers: () => host?.movers.killAll(),
    kill(process) {
      if (process.kind === 'mover') host?.movers.kill(process);
      else process.kill();
    },
  };
}

type Runtime = Omit<AgentDeps, 'movers' | 'observers'> & {
  connect(uri: string, process?: SimulatedProcess): Promise<HypervisorConnection>;
  movers: SimulatedMovers;
  observers: SimulatedObservers;
  altered: Movers;
};

function runtimeOf(
  fleet: SimulatedFleet,
  hostId: string,
  env: Record<string, string>,
  { clock, dynamo, log = silentLog, watch, alter = {} }: SimulatedNodeOptions,
): Runtime {
  const { table, mailbox: partition, localUri } = readEnvironment(env);
  const client = dynamo();
  const mailbox = dynamoMailbox({ client, commitClient: client, table, mailbox: partition, clock });
  const own = {
    clock,
    log,
    localUri,
    connect: async (uri: string, process?: SimulatedProcess) => {
      const connection = await connect(fleet, hostId, uri, process);
      return alter.connection?.(connection) ?? connection;
    },
    mailbox: alter.mailbox?.(mailbox) ?? mailbox,
    facts: simulatedFacts(fleet, hostId),
    images: fleet.host(hostId).images,
  };
  const movers = new SimulatedMovers({ ...own, hostId, ...(watch && { watch }) });
  const observers = new SimulatedObservers({ ...own, hostId, ...(watch && { watch }) });
  const altered = alter.movers?.(movers) ?? movers;
  return { ...own, movers, observers, altered, hostId };
}

/** What one run of the agent sees: all of it ends with its process. */
function depsOf({ altered, ...host }: Runtime, process: SimulatedProcess): AgentDeps {
  return {
    ...host,
    movers: altered,
    mailbox: process.mailbox(host.mailbox),
    clock: process.clock(host.clock),
    facts: process.facts(host.facts),
    images: process.images(host.images),
    connect: (uri) => process.connect(() => host.connect(uri, process)),
  };
}

async function outcomeOf(run: () => Promise<RunOutcome>): Promise<NodeOutput> {
  try {
    return { exitCode: EXIT.reported, stdout: `${await run()}\n`, stderr: '' };
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    return { exitCode: error.exitCode, stdout: '', stderr: `${error.message}\n` };
  }
}

/** The literal `export NAME='value'` lines of the agent's SSM document. */
function exportsOf(script: string): Record<string, string> {
  const lines = script.matchAll(/^export (\w+)='([^']*)'$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}
