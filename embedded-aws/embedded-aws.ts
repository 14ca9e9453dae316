import type { Clock } from '../common/clock.ts';
import { uuid as uuidFrom } from './core/random.ts';
import type { CallAws, Caller, Json, JsonObject, Service } from './core/service.ts';
import { deploy } from './deploy/deploy.ts';
import { declaredApi } from './deploy/http-api.ts';
import { type ChangeListener, createDynamoDb } from './dynamodb/service.ts';
import { type ClientConfiguration, type Credentials, clientConfiguration } from './endpoint/client-configuration.ts';
import { answerDirectly } from './endpoint/direct.ts';
import { inProcessTransport } from './endpoint/in-process.ts';
import { listen } from './endpoint/listen.ts';
import { createWire, type Wire } from './endpoint/wire.ts';
import type { HandleWire } from './endpoint/wire-format.ts';
import { type BusEvent, createEventBridge } from './events/event-bridge.ts';
import { createHttpApi } from './http-api/http-api.ts';
import { gatewayResponse } from './http-api/payload.ts';
import { authorize } from './iam/authorize.ts';
import { authorizedCalls } from './iam/call.ts';
import { type Roles, readRoles } from './iam/roles.ts';
import { captureOutput } from './lambda/captured-output.ts';
import { currentCaller } from './lambda/invocation.ts';
import { createLambda, type InvokeResult } from './lambda/lambda.ts';
import { createLogs } from './logs/logs.ts';
import { createQueues, type QueuedMessage } from './messages/queues.ts';
import { createTopics, type PublishedMessage } from './messages/topics.ts';
import type { NodeExecutor } from './ssm/node.ts';
import { createSsm } from './ssm/ssm.ts';
import { createStepFunctions } from './step-functions/service.ts';
import { type Assembly, readAssembly } from './template/assembly.ts';
import { type ResolvedTemplate, resolveTemplate } from './template/template.ts';

export interface EmbeddedAwsOptions {
  /** The CDK cloud assembly to run: its folder, such as `cdk.out`, or what was read from it. */
  assembly: string | Assembly;
  clock: Clock;
  /** Numbers in [0, 1): identifiers and jitter come from here. */
  random?: () => number;
  region?: string;
  account?: string;
  /** Where to serve HTTP; port 0 picks a free one. `false`: callers in this process only. */
  listen: { hosts: readonly string[]; port: number } | false;
  /** Log level of the functions. What they log is read with CloudWatch Logs' FilterLogEvents. */
  logLevel?: 'DEBUG' | 'INFO' | 'WARN' | 'ERROR' | 'SILENT';
  /** Answers SDK clients in this process without a wire in between (endpoint/direct.ts), which is many times faster. */
  direct?: boolean;
  /** Called with what AWS would lose silently or show in metrics only, such as an event that could not be delivered. */
  report?: (message: string) => void;
  /** Looks on while the tables change; it must not change what it is given. */
  onItemChange?: ChangeListener;
}

/**
 * Sees every call of a service before it is made: it may delay it, fail it, or make it and lose the answer. It sees a stream's
 * records on their way to a function too, as `streams` `Deliver`.
 */
export type Interceptor = (
  call: { service: string; operation: string; input: JsonObject; caller: Caller },
  next: () => Promise<JsonObject>,
) => Promise<JsonObject>;

export interface EmbeddedAws {
  region: string;
  account: string;
  /** For `AWS_ENDPOINT_URL`; undefined when it does not listen. */
  endpoint: string | undefined;
  /** Where the HTTP API answers; without a listener, clients made with `inProcess` reach it there. */
  apiUrl: string | undefined;
  /** The stack's outputs. */
  outputs: Record<string, string>;
  callAws: CallAws;
  /** May do everything. */
  adminCaller: Caller;
  adminCredentials: Credentials;
  /**
   * Activates a managed node with the one role of the template that SSM may assume. `mailboxUserId` is the node's
   * `aws:userid`, by which policies know it.
   */
  registerNode(nodeId: string, executor: NodeExecutor): { credentials: Credentials; mailboxUserId: string };
  /** Whether the node's SSM agent is connected; while it is not, commands wait until they time out. */
  setNodeOnline(nodeId: string, online: boolean): void;
  /** Options for an SDK client in this process; as the administrator, unless other credentials are given. */
  inProcess(credentials?: Credentials): ClientConfiguration;
  /** Answers an SDK client made with `inProcess` as the functions' are: without a wire, if `direct` is set. Returns it. */
  answering<Client>(client: Client, credentials: Credentials): Client;
  /** For tests and simulations of faults: what `next` would do is up to the interceptor. `undefined` takes it away. */
  intercept(interceptor: Interceptor | undefined): void;
  /** Puts an event of any source on the default bus. */
  putEvent(event: BusEvent): void;
  /** The messages in the stack's queues, by the queues' names. Nothing consumes them. */
  queues(): Record<string, readonly QueuedMessage[]>;
  /** What was published to the stack's topics, by their names. */
  topics(): Record<string, readonly PublishedMessage[]>;
  /** Stops all executions, commands and retries. No timer and no socket is left. */
  stop(): Promise<void>;
}

/**
 * Runs a synthesized stack in this process: its tables, functions, state machines, rules, documents, routes and roles, as
 * the template says and under its IAM policies. Fails, by name, on what it does not implement.
 *
 * Functions share the process's environment and memory (see lambda/bundle.ts). Nothing is kept when it stops.
 */
export async function startEmbeddedAws(options: EmbeddedAwsOptions): Promise<EmbeddedAws> {
  const { clock, random = Math.random, region = 'us-east-1', account = '000000000000', logLevel = 'INFO' } = options;
  const report = options.report ?? ((message) => console.error(message));
  const assembly = typeof options.assembly === 'string' ? readAssembly(options.assembly) : options.assembly;

  // The template's outputs and functions name the API's address, so the port must be known before anything else is.
  let handleWire: HandleWire = async () => gatewayResponse(503, 'The embedded AWS is starting.');
  const listener = options.listen ? await listen((...request) => handleWire(...request), options.listen) : undefined;
  const endpoint = options.listen && listener ? `http://${urlHost(options.listen.hosts)}:${listener.port}` : undefined;

  const stopping = new AbortController();
  const { signal } = stopping;
  try {
    const { resources, outputs, roles } = stackOf(assembly, { region, account, apiEndpoint: endpoint });
    const { assets } = assembly;
    const uuid = () => uuidFrom(random);
    const services: Record<string, Service> = {};
    const authorized = authorizedCalls(services);
    let interceptor: Interceptor | undefined;
    const callAws: CallAws = (service, operation, input, caller) => {
      const next = () => authorized(service, operation, input, caller);
      return interceptor ? interceptor({ service, operation, input, caller }, next) : next();
    };
    const common = { clock, random, uuid, region, account, callAws, signal, report };

    const adminCaller: Caller = {
      arn: `arn:aws:iam::${account}:user/local`,
      userId: 'AIDALOCALADMINISTRATOR',
      statements: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
    };
    const adminCredentials = { accessKeyId: 'local', secretAccessKey: 'local' };
    const callers = new Map([[adminCredentials.accessKeyId, adminCaller]]);
    const transport = inProcessTransport((...request) => handleWire(...request), currentCaller);

    const dynamodb = createDynamoDb({ ...common, ...(options.onItemChange && { onChange: options.onItemChange }) });
    const queues = createQueues(common);
    const topics = createTopics(common);
    const events = createEventBridge({
      ...common,
      callerForRole: (arn, service) => roles.session(arn, service, `${service}.amazonaws.com`),
    });
    const ssm = createSsm({ ...common, emit: events.emit });
    const states = createStepFunctions({
      ...common,
      // A machine of the user's own names a role that is not the template's: there are no policies to hold it to.
      callerForRole: (arn) =>
        roles.has(arn) ? roles.session(arn, 'StepFunctions', 'states.amazonaws.com') : { ...adminCaller, arn },
      emit: events.publish,
    });
    const logs = createLogs({ region, account, now: () => clock.now() });
    captureOutput();
    const lambda = createLambda({
      ...common,
      log: logs.put,
      transport,
      directly: options.direct ? callAws : undefined,
      callerForRole: (arn, session) => roles.session(arn, session, 'lambda.amazonaws.com'),
    });
    Object.assign(services, { dynamodb, events, lambda, logs, sns: topics, sqs: queues, ssm, states });
    // A stream's records are the tables' own items, and many: to copy them all takes longer than what becomes of them.
    const deliver = async (functionName: string, payload: Json): Promise<InvokeResult> => {
      const next = async () => (await lambda.invoke(functionName, payload, { shared: true })) as JsonObject;
      if (interceptor === undefined) return (await next()) as InvokeResult;
      const call = { service: 'streams', operation: 'Deliver', input: payload as JsonObject };
      return (await interceptor({ ...call, caller: lambda.callerOf(functionName) }, next)) as InvokeResult;
    };
    const parts = { dynamodb, events, lambda, queues, ssm, topics };
    await deploy(resources, { ...common, ...parts, deliver, assets, logLevel, admin: adminCaller });

    const api = declaredApi(resources);
    const httpApi: Wire['httpApi'] =
      api === undefined
        ? async () => gatewayResponse(404, 'Not Found')
        : createHttpApi({ ...common, ...api, authorize, invoke: lambda.invoke });
    const callerForAccessKey = (accessKey: string) => callers.get(accessKey);
    handleWire = createWire({ call: callAws, account, callerForAccessKey, httpApi });

    return {
      region,
      account,
      endpoint,
      apiUrl: api?.endpoint,
      outputs,
      callAws,
      adminCaller,
      adminCredentials,
      registerNode(nodeId, executor) {
        const [role, ...others] = roles.trustedBy('ssm.amazonaws.com');
        if (role === undefined || others.length > 0) {
          throw new Error(
            'A managed node needs the template to have exactly one role that ssm.amazonaws.com may assume.',
          );
        }
        const caller = roles.session(role.arn, nodeId, 'ssm.amazonaws.com');
        callers.set(nodeId, caller);
        ssm.registerNode(nodeId, executor);
        return { credentials: { accessKeyId: nodeId, secretAccessKey: 'node' }, mailboxUserId: caller.userId };
      },
      setNodeOnline: ssm.setNodeOnline,
      inProcess: (credentials = adminCredentials) =>
        clientConfiguration({ region, credentials, requestHandler: inProcessTransport(handleWire, () => undefined) }),
      answering(client, { accessKeyId }) {
        const caller = callers.get(accessKeyId);
        if (options.direct && caller !== undefined) answerDirectly(client, () => ({ call: callAws, caller }));
        return client;
      },
      intercept(given) {
        interceptor = given;
      },
      putEvent: events.emit,
      queues: queues.all,
      topics: topics.all,
      async stop() {
        await states.close();
        stopping.abort();
        await listener?.close();
      },
    };
  } catch (error) {
    stopping.abort();
    await listener?.close();
    throw error;
  }
}

interface Stack extends ResolvedTemplate {
  roles: Roles;
}

/** Of assemblies that are started again and again, with the place they were worked out for. */
const workedOut = new WeakMap<Assembly, Map<string, Stack>>();

function stackOf(
  assembly: Assembly,
  place: { region: string; account: string; apiEndpoint: string | undefined },
): Stack {
  const stacks = workedOut.get(assembly) ?? new Map<string, Stack>();
  workedOut.set(assembly, stacks);
  const key = JSON.stringify(place);
  let stack = stacks.get(key);
  if (stack === undefined) {
    const resolved = resolveTemplate(assembly.template, { ...place, stackName: assembly.stackName });
    stack = { ...resolved, roles: readRoles(resolved.resources) };
    stacks.set(key, stack);
  }
  return stack;
}

/** An address to reach the listener at; one that means "all addresses" is no address to connect to. */
function urlHost([host = '127.0.0.1']: readonly string[]): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
