import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { synthesize } from '../../../cdk/synthesize.ts';
import { pseudoRandom } from '../../../common/pseudo-random.ts';
import {
  FINAL_STATUSES,
  type HostRegistration,
  type HostView,
  type MigrationRequest,
  type MigrationView,
  type Problem,
} from '../../../contract/api.ts';
import { parseMailboxItem } from '../../../contract/mailbox.ts';
import type { JsonObject } from '../../../embedded-aws/core/service.ts';
import { type EmbeddedAws, startEmbeddedAws } from '../../../embedded-aws/embedded-aws.ts';
import { HOSTS } from '../../../lambdas/platform/control-keys.ts';
import { type ManagedHost, manage } from '../../../simulator/hosts/managed-host.ts';
import { SimulatedFleet } from '../../../simulator/hypervisor/fleet.ts';
import type { HostSpec } from '../../../simulator/hypervisor/host.ts';
import { VirtualClock } from '../../../simulator/virtual-clock.ts';

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
}

export interface Answer<T> {
  status: number;
  headers: Record<string, string>;
  body: T;
}

type Wish = Partial<Omit<MigrationRequest, 'policy'>> & { policy?: Partial<MigrationRequest['policy']> };
type Item = Record<string, unknown> & { pk: string; sk: string };

/**
 * The synthesized control plane on the embedded AWS, with simulated hosts that run the agent's own code, in virtual time: what
 * takes minutes passes at once, and always in the same way. Tests talk to it as the world does: through the HTTP API, events,
 * and AWS's own APIs.
 */
export class ControlPlane {
  readonly clock: VirtualClock;
  readonly aws: EmbeddedAws;
  readonly fleet: SimulatedFleet;
  readonly hosts = new Map<string, ManagedHost>();
  /** What AWS would lose silently; no test expects any of it. */
  readonly reports: string[];
  /** What a test leaves held on purpose. */
  leaves: string[] = [];
  readonly #admin: DynamoDBDocumentClient;

  private constructor(clock: VirtualClock, aws: EmbeddedAws, reports: string[]) {
    this.clock = clock;
    this.aws = aws;
    this.reports = reports;
    this.fleet = new SimulatedFleet(clock);
    this.#admin = DynamoDBDocumentClient.from(new DynamoDBClient(aws.inProcess()));
  }

  /** Without hosts. Who starts it also ends it, with `stop`. */
  static async start(): Promise<ControlPlane> {
    const clock = new VirtualClock();
    const reports: string[] = [];
    const aws = await startEmbeddedAws({
      assembly: await synthesize(),
      clock,
      random: pseudoRandom(1),
      listen: false,
      logLevel: 'SILENT',
      report: (message) => void reports.push(message),
      // Functions are given the stream's records as they are: one that changed them would change the tables, and throws here.
      onItemChange: (_, after) => deepFreeze(after),
    });
    return new ControlPlane(clock, aws, reports);
  }

  async stop(): Promise<void> {
    await this.aws.stop();
  }

  /** Adds hosts that are managed nodes, and registers them. */
  async register(
    hostIds: readonly string[],
    { limits, ...spec }: { limits?: Partial<HostRegistration['limits']> } & Partial<HostSpec> = {},
  ): Promise<void> {
    for (const hostId of hostIds) {
      this.fleet.addHost({ hostId, ...spec });
      const host = manage(this.aws, this.fleet, hostId);
      this.hosts.set(hostId, host);
      const body = { ...host.registration, ...(limits && { limits }) };
      expect(await this.http('PUT', `/hosts/${hostId}`, { body })).toMatchObject({ status: 200 });
    }
  }

  host(hostId: string): ManagedHost {
    return this.hosts.get(hostId)!;
  }

  /** One request to the HTTP API. `text` is sent as it is, in place of a body in JSON. */
  async http<T = Problem>(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    { body, text, key, as = 'local' }: { body?: unknown; text?: string; key?: string; as?: string } = {},
  ): Promise<Answer<T>> {
    const sent = text ?? (body === undefined ? undefined : JSON.stringify(body));
    const [route = '', search = ''] = path.split('?');
    const { response } = await this.aws.inProcess().requestHandler.handle({
      method,
      path: route,
      query: Object.fromEntries(new URLSearchParams(search)),
      headers: {
        authorization: `AWS4-HMAC-SHA256 Credential=${as}/20260101/us-east-1/execute-api/aws4_request`,
        ...(sent !== undefined && { 'content-type': 'application/json' }),
        ...(key !== undefined && { 'Idempotency-Key': key }),
      },
      body: sent,
    });
    const answered = new TextDecoder().decode(response.body);
    return { status: response.statusCode, headers: response.headers, body: JSON.parse(answered) as T };
  }

  /** Asks for a migration, from kvm-a to kvm-b unless told otherwise, and returns its id at once. */
  async migrate(vm: string, wish: Wish = {}): Promise<string> {
    const answer = await this.http<{ migrationId: string }>('POST', '/migrations', {
      body: { vm, source: 'kvm-a', destination: 'kvm-b', ...wish },
    });
    expect(answer).toMatchObject({ status: 202 });
    return answer.body.migrationId;
  }

  async show(migrationId: string): Promise<MigrationView> {
    return (await this.http<MigrationView>('GET', `/migrations/${migrationId}`)).body;
  }

  cancel(migrationId: string): Promise<Answer<Problem & { status: string }>> {
    return this.http('POST', `/migrations/${migrationId}/cancel`);
  }

  async listHosts(): Promise<HostView[]> {
    return (await this.http<{ hosts: HostView[] }>('GET', '/hosts')).body.hosts;
  }

  /** Lets time pass until `look` gives something; fails when it has not within `limitSeconds` of virtual time. */
  async until<T>(what: string, look: () => Promise<T | undefined | false>, limitSeconds = 600): Promise<T> {
    const deadline = this.clock.now() + limitSeconds * 1_000;
    // Every look is a request to the API: often at first, where much happens, and then less and less.
    for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.3, 5_000)) {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      if (this.clock.now() >= deadline) throw new Error(`${what}: not within ${limitSeconds} s`);
      await this.clock.advance(pauseMs);
    }
  }

  reaches(migrationId: string, status: MigrationView['status']): Promise<MigrationView> {
    return this.until(`${migrationId} is ${status}`, async () => {
      const view = await this.show(migrationId);
      if (view.endedAt !== undefined && view.status !== status)
        throw new Error(`${migrationId} ended ${view.status}: ${JSON.stringify(view.failure)}`);
      return view.status === status && view;
    });
  }

  /** Follows a migration until its execution is over too. */
  async ended(migrationId: string, limitSeconds = 3_600): Promise<MigrationView> {
    const last = await this.until(
      `${migrationId} ends`,
      async () => {
        const view = await this.show(migrationId);
        return FINAL_STATUSES.includes(view.status) && view;
      },
      limitSeconds,
    );
    // The mover still takes the source's copy down after the state machine is done.
    await this.clock.advance(5_000);
    return last;
  }

  /** Where a VM runs, as the hypervisors have it. */
  runsOn(vm: string): string[] {
    return this.fleet
      .hosts()
      .filter(({ copies }) => copies.get(vm)?.state === 'running')
      .map(({ spec }) => spec.hostId);
  }

  /** StartExecution of the Migrate state machine, as the console does it. */
  startByHand(name: string, input: unknown): Promise<JsonObject> {
    const machine = { stateMachineArn: String(this.aws.outputs.MigrateMachine) };
    return this.#states('StartExecution', { ...machine, name, input: JSON.stringify(input) });
  }

  stopByHand(executionArn: string): Promise<JsonObject> {
    return this.#states('StopExecution', { executionArn });
  }

  describe(executionArn: string): Promise<JsonObject> {
    return this.#states('DescribeExecution', { executionArn });
  }

  async executions(
    machine: 'MigrateMachine' | 'RecoverMachine' | 'EvacuateMachine' = 'MigrateMachine',
  ): Promise<JsonObject[]> {
    const { executions } = await this.#states('ListExecutions', { stateMachineArn: String(this.aws.outputs[machine]) });
    return executions as JsonObject[];
  }

  #states(operation: string, input: JsonObject): Promise<JsonObject> {
    return this.aws.callAws('states', operation, input, this.aws.adminCaller);
  }

  async control(): Promise<Item[]> {
    return this.#scan(this.aws.outputs.ControlTable);
  }

  async mailbox(): Promise<Item[]> {
    return this.#scan(this.aws.outputs.MailboxTable);
  }

  /** Everything migrations hold, named; empty when all was given back. */
  async held(): Promise<string[]> {
    const control = await this.control();
    const hosts = control.filter(({ pk }) => pk === HOSTS) as (Item & {
      outgoing?: Set<string>;
      incoming?: Set<string>;
      cutovers?: Set<string>;
      queue: object;
      reservations: object;
    })[];
    return [
      ...hosts.flatMap((host) => [
        ...[...(host.outgoing ?? [])].map((id) => `outgoing slot of ${host.sk}: ${id}`),
        ...[...(host.incoming ?? [])].map((id) => `incoming slot of ${host.sk}: ${id}`),
        ...[...(host.cutovers ?? [])].map((id) => `cutover slot of ${host.sk}: ${id}`),
        ...Object.keys(host.queue).map((id) => `queue position of ${host.sk}: ${id}`),
        ...Object.keys(host.reservations).map((id) => `memory of ${host.sk}: ${id}`),
      ]),
      ...control.filter(({ sk }) => sk === 'LOCK').map(({ pk, migrationId }) => `lock of ${pk}: ${migrationId}`),
      ...(await this.mailbox())
        .filter(({ sk, state }) => parseMailboxItem(sk)?.kind === 'commit' && state === 'OPEN')
        .map(({ sk }) => `open commit record: ${sk}`),
    ];
  }

  /** What holds after every test: nothing is held, lost or running twice, and nothing waits in a dead-letter queue. */
  async nothingIsHeld(): Promise<void> {
    expect(await this.held()).toEqual(this.leaves);
    expect(this.reports).toEqual([]);
    const dead = Object.entries(this.aws.queues()).filter(([, messages]) => messages.length > 0);
    expect(dead).toEqual([]);
  }

  async #scan(table: string | undefined): Promise<Item[]> {
    const items: Item[] = [];
    let from: Record<string, unknown> | undefined;
    do {
      const page = await this.#admin.send(
        new ScanCommand({ TableName: table, ...(from && { ExclusiveStartKey: from }) }),
      );
      items.push(...((page.Items ?? []) as Item[]));
      from = page.LastEvaluatedKey;
    } while (from !== undefined);
    return items;
  }
}

/** Gives each test a control plane with the hosts kvm-a and kvm-b, unless told otherwise, and looks afterwards that all is tidy. */
export function eachWithControlPlane(
  prepare: (plane: ControlPlane) => Promise<void> = (plane) => plane.register(['kvm-a', 'kvm-b']),
): () => ControlPlane {
  // A busy machine may take long over what needs no time; synthesizing takes some fifteen seconds, the first time.
  vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });
  let plane: ControlPlane | undefined;
  beforeEach(async () => {
    plane = await ControlPlane.start();
    await prepare(plane);
  });
  afterEach(async () => {
    const used = plane;
    plane = undefined;
    try {
      await used?.nothingIsHeld();
    } finally {
      await used?.stop();
    }
  });
  return () => plane!;
}
